"""What a client is told about a request that gunicorn cannot parse.

Imports nothing that gevent would have to patch: gunicorn's master loads it before it forks.
"""

from __future__ import annotations

from typing import NamedTuple

from gunicorn.http import errors

_CODES: dict[type[BaseException], tuple[int, str]] = {
    errors.LimitRequestLine: (414, "request_line_too_long"),
    errors.LimitRequestHeaders: (431, "headers_too_large"),
    errors.UnsupportedTransferCoding: (501, "unsupported_transfer_coding"),
    errors.ExpectationFailed: (417, "expectation_failed"),
}
_DETAILS = {
    400: "the request is not valid HTTP/1.1",
    414: "the request line is too long",
    417: "Expect supports 100-continue alone",
    431: "the request has too many headers, or too long ones",
    501: "Transfer-Encoding supports chunked alone",
}


class ParseProblem(NamedTuple):
    """The answer to a request that cannot be parsed, as in ``proxy.problems.Problem``."""

    status: int
    code: str
    detail: str


def explain_parse_error(error: BaseException) -> ParseProblem | None:
    """Return the answer to a request that gunicorn's parser refused; None if the client did not cause ``error``."""
    ours = (errors.ConfigurationProblem, errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
    if not isinstance(error, errors.ParseException) or isinstance(error, ours):
        return None
    status, code = _CODES.get(type(error), (400, "malformed_request"))
    return ParseProblem(status, code, _DETAILS[status])

"""Answer a failed request with a problem document (RFC 9457) that people and programs can act on."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from proxy.raw_answers import PROBLEM_TYPE, problem_document
from proxy.request_id import current_request_id

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """A request that cannot be answered.

    Args:
        status: The HTTP status.
        code: A stable snake_case name of the reason, for programs.
        detail: What is wrong, for people: the thing, the value, the limit.
        error: The member that the original service answered with; the detail if None.
        headers: Further response headers, such as ``Retry-After``.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, error: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.error = detail if error is None else error
        self.headers = dict(headers or {})


def render_problem(problem: Problem) -> Response:
    """Write a problem as ``application/problem+json``."""
    document = problem_document(
        problem.status, problem.code, problem.detail, error=problem.error, request_id=current_request_id()
    )
    return Response(document, status=problem.status, content_type=PROBLEM_TYPE, headers=problem.headers)


def answer_errors_with_problems(app: Flask) -> None:
    """Answer every error of ``app``, expected or not, with a problem document."""
    app.register_error_handler(Problem, render_problem)
    app.register_error_handler(HTTPException, _render_http_exception)
    app.register_error_handler(Exception, _render_bug)


def _render_http_exception(exception: HTTPException) -> Response:
    status = HTTPStatus(exception.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    detail = exception.description or status.phrase
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        detail = f"{request.method} {request.path} is not served here"
    allow = exception.get_response().headers.get("Allow")
    return render_problem(
        Problem(status, status.name.lower(), detail, headers={} if allow is None else {"Allow": allow})
    )


def _render_bug(exception: Exception) -> Response:
    _log.error("request %s failed", current_request_id(), exc_info=exception)
    return render_problem(Problem(500, "internal_error", "the request could not be answered; its id is in the log"))

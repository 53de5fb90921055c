"""Give every request a name by which client and log speak of the same thing.

Does not know what a request is about.
"""

from __future__ import annotations

import re
import uuid

from flask import Flask, Response, g, request

HEADER = "X-Request-Id"
# Nothing a client sends gets into a log line unless it is this harmless.
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def current_request_id() -> str:
    """Return the request's id: the client's own if it is acceptable, else one made up here."""
    if "request_id" not in g:
        theirs = request.headers.get(HEADER, "")
        g.request_id = theirs if _ACCEPTABLE.fullmatch(theirs) else uuid.uuid4().hex
    request_id: str = g.request_id
    return request_id


def return_request_ids(app: Flask) -> None:
    """Put the id on every response of ``app``."""

    @app.after_request
    def add_header(response: Response) -> Response:
        response.headers[HEADER] = current_request_id()
        return response

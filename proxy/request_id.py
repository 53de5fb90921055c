"""Give every request an id, which its answer and the log share."""

from __future__ import annotations

from flask import Flask, Response, g, request

from proxy.raw_answers import REQUEST_ID_HEADER, choose_request_id


def current_request_id() -> str:
    """Return the request's id: the client's own if it is acceptable, otherwise a new one."""
    if "request_id" not in g:
        g.request_id = choose_request_id(request.headers.get(REQUEST_ID_HEADER, ""))
    request_id: str = g.request_id
    return request_id


def return_request_ids(app: Flask) -> None:
    """Put the id on every response of ``app``."""

    @app.after_request
    def add_header(response: Response) -> Response:
        response.headers[REQUEST_ID_HEADER] = current_request_id()
        return response

"""Let pages of other origins read the answers (CORS), if the operator allows their origins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, Response, request

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Content-Type, X-Request-Id",
    "Access-Control-Max-Age": "600",
}


def cors_headers(origin: str, allowed: Collection[str]) -> Mapping[str, str]:
    """Return the headers that let a page of ``origin`` read the answer.

    Args:
        origin: The request's Origin header, empty if it has none.
        allowed: Origins such as ``https://example.org``, or ``*`` for every page.
    """
    if not allowed:
        return {}
    varies = {"Vary": "Origin"}  # a cache must not give one origin's answer to another
    if not origin or ("*" not in allowed and origin not in allowed):
        return varies
    exposed = {"Access-Control-Expose-Headers": "X-Request-Id, Retry-After"}
    return {"Access-Control-Allow-Origin": "*" if "*" in allowed else origin, **exposed, **varies}


def allow_origins(app: Flask, allowed: Collection[str]) -> None:
    """Put the headers on every response of ``app``, and answer the preflight requests of allowed origins."""
    if not allowed:
        return

    @app.after_request
    def add_headers(response: Response) -> Response:
        headers = cors_headers(request.headers.get("Origin", ""), allowed)
        response.headers.update(headers)
        is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if is_preflight and "Access-Control-Allow-Origin" in headers:
            response.headers.update(_PREFLIGHT)
        return response

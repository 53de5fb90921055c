"""Write answers without Flask, for requests that are refused at once or are not valid HTTP.

Imports nothing that gevent would have to patch: gunicorn's master loads it before it forks.
"""

from __future__ import annotations

import json
import re
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_ID_HEADER = "X-Request-Id"
# A client's request id is logged only if it matches.
_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
PROBLEM_TYPE = "application/problem+json"


def choose_request_id(theirs: str) -> str:
    """Return the client's own request id if it is acceptable, otherwise a new one."""
    return theirs if _ACCEPTABLE_ID.fullmatch(theirs) else uuid.uuid4().hex


def problem_document(status: int, code: str, detail: str, *, error: str, request_id: str) -> str:
    """Return a problem document (RFC 9457), one line of JSON."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "error": error,
        "request_id": request_id,
    }
    return json.dumps(document) + "\n"


def problem_response(status: int, code: str, detail: str, *, request_id: str, headers: Mapping[str, str]) -> bytes:
    """Return a complete HTTP response that closes the connection."""
    body = problem_document(status, code, detail, error=detail, request_id=request_id).encode()
    fields = {
        "Content-Type": PROBLEM_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
        REQUEST_ID_HEADER: request_id,
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{head}\r\n".encode("latin-1") + body

"""Look at a request before it is parsed, and end the connection of a client that was refused.

Imports nothing that gevent would have to patch: gunicorn's master loads it before it forks.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from typing import NamedTuple

_PREDICT = b"POST /predict"
_PEEKED_BYTES = 8192
_HEADER = re.compile(rb"\r\n(content-length|x-request-id|origin):[ \t]*([^\r\n]*)", re.IGNORECASE)
_MAX_LENGTH_DIGITS = 18  # of a Content-Length; int() raises beyond 4300
# Closing a connection with unread bytes resets it, and the client may lose the answer. So some bytes are read and
# dropped, but within bounds: no client can make the server read on.
LINGER_BYTES = 64 * 2**20
_LINGER_S = 2.0


class Head(NamedTuple):
    """The beginning of a prediction request.

    Attributes:
        num_bytes: Size of the whole request, or ``LINGER_BYTES`` if it does not say.
        request_id: The client's X-Request-Id, empty if there is none.
        origin: The Origin, empty if there is none.
    """

    num_bytes: int
    request_id: str
    origin: str


def peek_prediction(client: socket.socket) -> Head | None:
    """Return the head of the request that waits on ``client``, without reading it; None if it asks for another path."""
    head = client.recv(_PEEKED_BYTES, socket.MSG_PEEK)
    end = head.find(b"\r\n\r\n")
    if not head.startswith(_PREDICT) or end < 0:
        return None
    fields = {name.lower(): value.decode("latin-1") for name, value in _HEADER.findall(head[:end])}
    length = fields.get(b"content-length", "")
    is_number = length.isdecimal() and len(length) <= _MAX_LENGTH_DIGITS
    num_bytes = end + 4 + int(length) if is_number else LINGER_BYTES
    return Head(num_bytes, fields.get(b"x-request-id", ""), fields.get(b"origin", ""))


def linger(client: socket.socket, num_bytes: int = LINGER_BYTES) -> None:
    """Read and drop what a refused client still sends, up to ``num_bytes``, so that it gets to read its answer."""
    deadline = time.monotonic() + _LINGER_S
    num_left = min(num_bytes, LINGER_BYTES)
    client.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        while num_left > 0 and (seconds := deadline - time.monotonic()) > 0:
            client.settimeout(seconds)
            received = client.recv(1 << 16)
            num_left = num_left - len(received) if received else 0

"""Hold connections that send a head or a body byte by byte; reopen those that the server closes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOW_HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Slow: "
SLOW_BODY = (
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=edge\r\n"
    b"Content-Length: 1000000\r\n\r\n--edge\r\n"
)
_EVERY_S = 1.0


@contextlib.contextmanager
def slow_clients(port: int, *, heads: int, bodies: int) -> Iterator[None]:
    """Hold that many connections to 127.0.0.1:``port`` for the length of the block."""
    stop = threading.Event()
    thread = threading.Thread(target=_hold, args=(port, [SLOW_HEAD] * heads + [SLOW_BODY] * bodies, stop))
    thread.start()
    time.sleep(2 * _EVERY_S)  # all are there before anything is measured
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _hold(port: int, beginnings: list[bytes], stop: threading.Event) -> None:
    connections: dict[int, socket.socket] = {}
    while not stop.wait(_EVERY_S):
        for index, beginning in enumerate(beginnings):
            try:
                if index in connections:
                    connections[index].send(b"a")
                else:
                    connections[index] = _open(port, beginning)
            except BlockingIOError:
                continue
            except OSError:
                _close(connections.pop(index, None))
    for connection in connections.values():
        connection.close()


def _open(port: int, beginning: bytes) -> socket.socket:
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex(("127.0.0.1", port))
    with contextlib.suppress(BlockingIOError):
        connection.send(beginning)
    return connection


def _close(connection: socket.socket | None) -> None:
    if connection is not None:
        connection.close()

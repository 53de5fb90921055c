"""The gunicorn worker: gevent's, which refuses too much at once and bounds whoever sends slowly or nothing.

A connection costs a greenlet, not a thread, so hundreds that trickle cost little. Imports nothing that gevent would
have to patch: gunicorn's master loads it before it forks.
"""

from __future__ import annotations

import contextlib
import functools
import re
import socket
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.http import errors
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker

from proxy.raw_answers import choose_request_id, problem_response

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD_TIMEOUT_S = 10.0  # for a new connection's first request; for the next ones it is gunicorn's keepalive
SEND_TIMEOUT_S = 15.0  # for a client that does not read its answer
_PREDICT = b"POST /predict"
_PEEKED_BYTES = 8192
_MAX_ACCEPT = 16  # connections taken in a row
_SPARE_CONNECTIONS = 16  # kept free by closing those that have been sending a head, or nothing, for longest
# Closing with unread bytes resets the connection, and the client may lose the answer; but nobody may make us read on.
_LINGER_S = 2.0
_LINGER_BYTES = 64 * 2**20
_MAX_LENGTH_DIGITS = 18  # of a Content-Length; int() raises beyond 4300
_HEADER = re.compile(rb"\r\n(content-length|x-request-id|origin):[ \t]*([^\r\n]*)", re.IGNORECASE)
# What gunicorn's parser cannot read, as (status, code); everything else that it raises is 400.
_STATUSES: dict[type[BaseException], tuple[int, str]] = {
    errors.LimitRequestLine: (414, "request_line_too_long"),
    errors.LimitRequestHeaders: (431, "headers_too_large"),
    errors.UnsupportedTransferCoding: (501, "unsupported_transfer_coding"),
    errors.ExpectationFailed: (417, "expectation_failed"),
}
_DETAILS = {
    400: "the request is not valid HTTP/1.1",
    414: "the request line is too long",
    417: "no Expect but 100-continue is supported",
    431: "the request has too many headers, or too long ones",
    501: "no transfer coding but chunked is supported",
}


@dataclass(eq=False)
class _Connection:
    client: socket.socket
    has_served: bool = False
    is_evicted: bool = False

    def close_for_reading(self) -> None:
        """End its greenlet's reading, which then closes it; gevent lets a read that waits fail with EBADF."""
        self.is_evicted = True
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_RD)


class ProxyWorker(GeventWorker):  # type: ignore[misc] # gunicorn has no types
    """Serves one Flask application made by ``create_app``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - gunicorn's own
        super().__init__(*args, **kwargs)
        self._open: dict[Any, _Connection] = {}  # by greenlet
        self._heads: dict[_Connection, None] = {}  # those that wait for a head, in the order they began

    def run(self) -> None:
        """Accept connections until told to stop, then let those that are open end; as GeventWorker, but for the count.

        gunicorn lets each of several processes accept one connection at a time. While every request that is under way
        has something to do, connections would wait in the kernel for longer than a refusal may take.
        """
        servers = [
            StreamServer(each, handle=functools.partial(self.handle, each), spawn=Pool(self.worker_connections))
            for each in self.sockets
        ]
        for server in servers:
            server.max_accept = _MAX_ACCEPT
            server.start()
        while self.alive:
            self.notify()
            gevent.sleep(1.0)
        for server in servers:
            server.close()
        for connection in list(self._heads):
            connection.close_for_reading()  # nobody waits for an answer on it
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while self._open and time.monotonic() < deadline:
            self.notify()
            gevent.sleep(0.1)
        for server in servers:
            server.stop(timeout=1)

    def handle(self, listener: Any, client: socket.socket, addr: Any) -> None:  # noqa: ANN401 - gunicorn's own
        """Serve one connection."""
        greenlet = gevent.getcurrent()
        self._open[greenlet] = _Connection(client)
        try:
            if len(self._open) > self.worker_connections - _SPARE_CONNECTIONS:
                self._evict()
            client.settimeout(SEND_TIMEOUT_S)
            if self._refuse_unparsed(client):
                client.close()
                return
            AsyncWorker.handle(self, listener, client, addr)
        except OSError:  # the client left
            client.close()
        finally:
            del self._open[greenlet]

    @contextlib.contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """Bound the time in which a request's head must have come."""
        connection = self._open[gevent.getcurrent()]
        self._heads[connection] = None
        try:
            with gevent.Timeout(self.cfg.keepalive if connection.has_served else HEAD_TIMEOUT_S, False):
                yield
        except OSError:
            if not connection.is_evicted:  # else gunicorn would log a stack trace for each
                raise
        finally:
            self._heads.pop(connection, None)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:  # noqa: ANN401 - gunicorn's
        """Serve one request of a connection."""
        self._open[gevent.getcurrent()].has_served = True
        try:
            if req.method == "POST" and req.path == "/predict" and self._admission.is_full:
                fields = {name.lower(): value for name, value in req.headers}
                sock.sendall(self._refusal(fields.get("x-request-id", ""), fields.get("origin", "")))
                self._linger(sock, _LINGER_BYTES)
                raise StopIteration
            super().handle_request(listener_name, req, sock, addr)
        except TimeoutError:
            raise StopIteration from None  # a client that does not read; gunicorn would log a stack trace
        finally:
            with contextlib.suppress(OSError):
                sock.settimeout(SEND_TIMEOUT_S)  # the application had its own

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:  # noqa: ANN401, ARG002
        """Answer what the parser refuses with a problem document; the log gets no byte and no address of a client."""
        if isinstance(exc, (gevent.GreenletExit, OSError)):
            return
        is_theirs = isinstance(exc, (errors.ParseException, OSError)) and not isinstance(
            exc, (errors.ConfigurationProblem, errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
        )
        request_id = choose_request_id("")
        if is_theirs:
            status, code = _STATUSES.get(type(exc), (400, "malformed_request"))
            detail = _DETAILS[status]
            self.log.info("request %s is refused: %s", request_id, type(exc).__name__)
        else:
            status, code, detail = 500, "internal_error", "the request could not be answered; its id is in the log"
            frames = "".join(traceback.format_tb(exc.__traceback__))
            self.log.error("request %s failed: %s\n%s", request_id, type(exc).__name__, frames)
        with contextlib.suppress(OSError):
            client.sendall(problem_response(status, code, detail, request_id=request_id, headers={}))
            self._linger(client, _LINGER_BYTES)

    @property
    def _admission(self) -> Any:  # noqa: ANN401 - importing its type would import Flask
        return self.wsgi.extensions["admission"]

    def _evict(self) -> None:
        if self._heads:
            oldest = next(iter(self._heads))
            del self._heads[oldest]
            oldest.close_for_reading()
        else:
            self._admission.evict_reader(after_s=0.0)

    def _refuse_unparsed(self, client: socket.socket) -> bool:
        """Refuse a new connection's request by its first bytes, while there is too much; says whether it did."""
        if not self._admission.is_full:
            return False
        with self.timeout_ctx():
            head = client.recv(_PEEKED_BYTES, socket.MSG_PEEK)
            if not head.startswith(_PREDICT):
                return False
            end = head.find(b"\r\n\r\n")
            if end < 0:
                return False
            fields = {name.lower(): value.decode("latin-1") for name, value in _HEADER.findall(head[:end])}
            client.sendall(self._refusal(fields.get(b"x-request-id", ""), fields.get(b"origin", "")))
            length = fields.get(b"content-length", "")
            is_number = length.isdecimal() and len(length) <= _MAX_LENGTH_DIGITS
            self._linger(client, end + 4 + int(length) if is_number else _LINGER_BYTES)
        return True

    def _refusal(self, request_id: str, origin: str) -> bytes:
        make_refusal: Any = self.wsgi.extensions["make_refusal"]
        refusal: bytes = make_refusal(choose_request_id(request_id), origin)
        return refusal

    @staticmethod
    def _linger(client: socket.socket, num_bytes: int) -> None:
        """Throw away what a refused client still sends, within bounds, so that it gets to read its answer."""
        deadline = time.monotonic() + _LINGER_S
        num_left = min(num_bytes, _LINGER_BYTES)
        client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while num_left > 0 and (seconds := deadline - time.monotonic()) > 0:
                client.settimeout(seconds)
                received = client.recv(1 << 16)
                num_left = num_left - len(received) if received else 0

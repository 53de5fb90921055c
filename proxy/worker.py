"""The gunicorn worker: gevent's own, with early refusals under overload and time limits for slow clients.

A connection costs a greenlet, not a thread, so hundreds of slow ones cost little. Imports nothing that gevent would
have to patch: gunicorn's master loads it before it forks.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker

from proxy.early_refusal import linger, peek_prediction
from proxy.parse_errors import ParseProblem, explain_parse_error
from proxy.raw_answers import choose_request_id, problem_response

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD_TIMEOUT_S = 10.0  # for a connection's first request; gunicorn's keepalive limits the next ones
SEND_TIMEOUT_S = 15.0  # for a client that does not read its answer
_MAX_ACCEPT = 16  # connections taken in a row
_SPARE_CONNECTIONS = 16  # kept free: those that have been sending a head, or nothing, for longest are closed
_INTERNAL_ERROR = ParseProblem(500, "internal_error", "the request could not be answered; its id is in the log")


@dataclass(eq=False)
class _Connection:
    client: socket.socket
    has_served: bool = False
    is_evicted: bool = False

    def close_for_reading(self) -> None:
        """End the read of its greenlet, which then closes it; closing it here would make that read fail with EBADF."""
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
        """Accept connections until told to stop, then wait for the open ones to end.

        Differs from GeventWorker in ``max_accept``: with several processes, gunicorn lets each accept one connection at
        a time. Under load, connections would then wait in the kernel for longer than a refusal may take.
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
            connection.close_for_reading()  # no request was sent on it
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
        """Limit the time for a request's head to arrive."""
        connection = self._open[gevent.getcurrent()]
        self._heads[connection] = None
        try:
            with gevent.Timeout(self.cfg.keepalive if connection.has_served else HEAD_TIMEOUT_S, False):
                yield
        except OSError:
            if not connection.is_evicted:  # gunicorn would log a stack trace
                raise
        finally:
            self._heads.pop(connection, None)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:  # noqa: ANN401 - gunicorn's
        """Serve one request of a connection."""
        self._open[gevent.getcurrent()].has_served = True
        try:
            if req.method == "POST" and req.path == "/predict" and self._slots.is_full:
                fields = {name.lower(): value for name, value in req.headers}
                sock.sendall(self._refusal(fields.get("x-request-id", ""), fields.get("origin", "")))
                linger(sock)
                raise StopIteration
            super().handle_request(listener_name, req, sock, addr)
        except TimeoutError:
            raise StopIteration from None  # the client does not read; gunicorn would log a stack trace
        finally:
            with contextlib.suppress(OSError):
                sock.settimeout(SEND_TIMEOUT_S)  # the application set another

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:  # noqa: ANN401, ARG002
        """Answer a request that cannot be parsed with a problem document; log no byte and no address of the client."""
        if isinstance(exc, (gevent.GreenletExit, OSError)):
            return
        request_id = choose_request_id("")
        if problem := explain_parse_error(exc):
            self.log.info("request %s is refused: %s", request_id, type(exc).__name__)
        else:
            problem = _INTERNAL_ERROR
            frames = "".join(traceback.format_tb(exc.__traceback__))
            self.log.error("request %s failed: %s\n%s", request_id, type(exc).__name__, frames)
        with contextlib.suppress(OSError):
            client.sendall(problem_response(*problem, request_id=request_id, headers={}))
            linger(client)

    @property
    def _slots(self) -> Any:  # noqa: ANN401 - importing its type would import Flask
        return self.wsgi.extensions["slots"]

    def _evict(self) -> None:
        if self._heads:
            oldest = next(iter(self._heads))
            del self._heads[oldest]
            oldest.close_for_reading()
        else:
            self.wsgi.extensions["held_bodies"].evict_reader(after_s=0.0)

    def _refuse_unparsed(self, client: socket.socket) -> bool:
        """Refuse a new connection's request by its first bytes if the queue is full; return whether it was refused."""
        if not self._slots.is_full:
            return False
        with self.timeout_ctx():
            head = peek_prediction(client)
            if head is None:
                return False
            client.sendall(self._refusal(head.request_id, head.origin))
            linger(client, head.num_bytes)
        return True

    def _refusal(self, request_id: str, origin: str) -> bytes:
        make_refusal: Any = self.wsgi.extensions["make_refusal"]
        refusal: bytes = make_refusal(choose_request_id(request_id), origin)
        return refusal

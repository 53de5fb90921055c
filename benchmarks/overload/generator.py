"""Send requests at a rate, or by a number of clients, each over a connection of its own.

Does not know what is asked nor who answers. One thread, one epoll, requests made beforehand: the server shares the
cores with it.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TIMED_OUT = -1
FAILED = 0
_NUM_SOURCES = 32  # loopback addresses to come from: each has 28,000 ports, and a closed connection keeps one a minute
_PROBES = (b"/healthz", b"/readyz")
_PROBE_EVERY_S = 1.0


class Sample(NamedTuple):
    """One request: what was asked, when it began and how long it took, and its status, FAILED or TIMED_OUT."""

    kind: str
    began_s: float
    seconds: float
    status: int


@dataclass(frozen=True, kw_only=True)
class Stream:
    """How requests come.

    Attributes:
        seconds: For how long they are sent.
        patience_s: After which a client closes its connection.
        rate: Requests a second, sent whether or not others are answered; None for ``clients``.
        clients: How many are under way at once where there is no rate.
        has_probes: Whether /healthz and /readyz are asked meanwhile, every second.
    """

    seconds: float
    patience_s: float = 5.0
    rate: float | None = None
    clients: int = 1
    has_probes: bool = False


@dataclass(eq=False)
class _Request:
    kind: str
    sock: socket.socket
    outgoing: memoryview
    began_s: float
    received: bytearray = field(default_factory=bytearray)


def send_stream(port: int, make_request: Callable[[int], bytes], stream: Stream) -> Sequence[Sample]:
    """Send ``make_request(0)``, … to 127.0.0.1:``port``; each must ask the server to close the connection."""
    return _Generator(port, make_request, stream).run()


class _Generator:
    def __init__(self, port: int, make_request: Callable[[int], bytes], stream: Stream) -> None:
        self._address = ("127.0.0.1", port)
        self._make_request = make_request
        self._stream = stream
        self._epoll = select.epoll()
        self._open: dict[int, _Request] = {}
        self._by_age: deque[_Request] = deque()
        self._samples: list[Sample] = []
        self._num_predictions = 0
        self._num_busy = 0
        self._num_sockets = 0
        self._num_probes = 0

    def run(self) -> list[Sample]:
        self._began_s = time.perf_counter()
        with contextlib.closing(self._epoll):
            while (now := self._now()) < self._stream.seconds or self._open:
                if now < self._stream.seconds:
                    self._start_due(now)
                for number, _ in self._epoll.poll(0.002):
                    self._go_on(self._open[number])
                self._give_up(self._now())
        return self._samples

    def _now(self) -> float:
        return time.perf_counter() - self._began_s

    def _start_due(self, now: float) -> None:
        while self._is_due(now):
            self._num_predictions += 1
            self._start("predict", self._make_request(self._num_predictions - 1))
        while self._stream.has_probes and self._num_probes < now / _PROBE_EVERY_S:
            self._num_probes += 1
            for path in _PROBES:
                self._start(path.decode(), b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path)

    def _is_due(self, now: float) -> bool:
        if self._stream.rate is None:
            return self._num_busy < self._stream.clients
        return self._num_predictions < now * self._stream.rate

    def _start(self, kind: str, content: bytes) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        self._num_sockets += 1
        sock.bind((f"127.0.0.{1 + self._num_sockets % _NUM_SOURCES}", 0))
        request = _Request(kind, sock, memoryview(content), self._now())
        self._open[sock.fileno()] = request
        self._by_age.append(request)
        self._num_busy += kind == "predict"
        sock.connect_ex(self._address)
        self._epoll.register(sock, select.EPOLLIN | select.EPOLLOUT)
        self._send(request)  # on loopback the connection is made by now

    def _go_on(self, request: _Request) -> None:
        if request.outgoing and not self._send(request):
            return
        try:
            while received := request.sock.recv(1 << 16):
                request.received += received
        except BlockingIOError:
            return
        except OSError:  # reset; what came before it counts
            pass
        head = bytes(request.received[:12])
        self._end(request, int(head[9:12]) if head.startswith(b"HTTP/1.1 ") and head[9:12].isdigit() else FAILED)

    def _send(self, request: _Request) -> bool:
        try:
            request.outgoing = request.outgoing[request.sock.send(request.outgoing) :]
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.ENOTCONN}:
                return False
            request.outgoing = memoryview(b"")  # the server has closed; it may have answered before
        if not request.outgoing:
            self._epoll.modify(request.sock, select.EPOLLIN)
        return True

    def _end(self, request: _Request, status: int) -> None:
        del self._open[request.sock.fileno()]
        request.sock.close()
        self._num_busy -= request.kind == "predict"
        self._samples.append(Sample(request.kind, request.began_s, self._now() - request.began_s, status))

    def _give_up(self, now: float) -> None:
        while self._by_age and (
            self._by_age[0].sock.fileno() < 0 or now - self._by_age[0].began_s > self._stream.patience_s
        ):
            request = self._by_age.popleft()
            if request.sock.fileno() >= 0:
                self._end(request, TIMED_OUT)

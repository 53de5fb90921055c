"""Send requests at a rate, whether or not earlier ones are answered, each over a connection of its own.

``benchmarks.serving.load`` keeps N clients busy instead and slows down with the server. Here too a number of clients
can take the place of the rate. One thread and one epoll, because the server shares the cores.
"""

from __future__ import annotations

import contextlib
import errno
import json
import resource
import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

NO_ANSWER: Final = 0  # the connection was refused, reset or closed
TIMED_OUT: Final = -1  # the client's patience ended
PREDICT: Final = "predict"
_NUM_SOURCES: Final = 32  # loopback addresses to come from: a closed connection keeps its port for a minute
_PROBES: Final = (b"/healthz", b"/readyz")
_PROBE_EVERY_S: Final = 1.0
_LONGEST_WAIT_S: Final = 0.02
_OTHER_FILES: Final = 100


class Answer(NamedTuple):
    """One request and what came back.

    Attributes:
        kind: ``PREDICT``, or the path of a probe.
        number: Of the request among those of its kind, from 0.
        began_s: When it began, on the monotonic clock.
        seconds: How long it took.
        status: Of HTTP, ``NO_ANSWER`` or ``TIMED_OUT``.
        received: Head and body as they came.
    """

    kind: str
    number: int
    began_s: float
    seconds: float
    status: int
    received: bytes

    @property
    def ended_s(self) -> float:
        """When it ended, on the monotonic clock."""
        return self.began_s + self.seconds

    @property
    def body(self) -> Any:  # noqa: ANN401 - JSON
        """The body's JSON; None if it is none."""
        try:
            return json.loads(self.received.partition(b"\r\n\r\n")[2])
        except ValueError:
            return None

    @property
    def retry_after(self) -> str:
        """The header Retry-After; empty if there is none."""
        lines = self.received.partition(b"\r\n\r\n")[0].split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        return headers.get(b"retry-after", b"").decode("latin-1")


@dataclass(frozen=True, kw_only=True)
class Stream:
    """How requests come.

    Attributes:
        seconds: For how long they are sent.
        patience_s: After which a client closes its connection.
        rate: Requests per second; None for ``clients``.
        clients: How many are under way at once if there is no rate.
        has_probes: Whether /healthz and /readyz are asked every second, too.
        max_open: The number of connections at which further requests wait.
    """

    seconds: float
    patience_s: float = 5.0
    rate: float | None = None
    clients: int = 1
    has_probes: bool = False
    max_open: int = 16_000


@dataclass(eq=False)
class _Request:
    kind: str
    number: int
    sock: socket.socket
    outgoing: memoryview
    began_s: float
    received: bytearray = field(default_factory=bytearray)


def send_stream(
    port: int, make_request: Callable[[int], bytes], stream: Stream, *, stop: Event | None = None
) -> list[Answer]:
    """Send ``make_request(0)``, ``make_request(1)``, … to 127.0.0.1:``port`` and wait for every answer.

    Args:
        port: Where the server listens.
        make_request: Makes the bytes of the n-th request, which must ask the server to close the connection.
        stream: How many, and for how long.
        stop: Ends the stream early when it is set.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = stream.max_open + _OTHER_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))
    return _Generator(port, make_request, stream, stop).run()


class _Generator:
    def __init__(self, port: int, make_request: Callable[[int], bytes], stream: Stream, stop: Event | None) -> None:
        self._address = ("127.0.0.1", port)
        self._make_request = make_request
        self._stream = stream
        self._stop = stop
        self._epoll = select.epoll()
        self._open: dict[int, _Request] = {}
        self._by_age: deque[_Request] = deque()
        self._answers: list[Answer] = []
        self._num_predictions = 0
        self._num_busy = 0
        self._num_sockets = 0
        self._num_probes = 0

    def run(self) -> list[Answer]:
        self._began_s = time.monotonic()
        # Clients that wait for answers want their next request at once.
        wait_s = min(_LONGEST_WAIT_S, 1 / self._stream.rate) if self._stream.rate else 0.002
        with contextlib.closing(self._epoll):
            while (is_sending := self._is_sending()) or self._open:
                if is_sending:
                    self._start_due(time.monotonic() - self._began_s)
                for number, _ in self._epoll.poll(wait_s):
                    self._advance(self._open[number])
                self._give_up(time.monotonic())
        return self._answers

    def _is_sending(self) -> bool:
        return time.monotonic() - self._began_s < self._stream.seconds and not (self._stop and self._stop.is_set())

    def _start_due(self, now_s: float) -> None:
        while self._is_due(now_s):
            self._num_predictions += 1
            number = self._num_predictions - 1
            self._start(PREDICT, number, self._make_request(number))
        while self._stream.has_probes and self._num_probes < now_s / _PROBE_EVERY_S:
            self._num_probes += 1
            for path in _PROBES:
                request = b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path
                self._start(path.decode(), self._num_probes - 1, request)

    def _is_due(self, now_s: float) -> bool:
        if self._stream.rate is None:
            return self._num_busy < self._stream.clients
        return self._num_predictions < now_s * self._stream.rate and self._num_busy < self._stream.max_open

    def _start(self, kind: str, number: int, content: bytes) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        self._num_sockets += 1
        sock.bind((f"127.0.0.{1 + self._num_sockets % _NUM_SOURCES}", 0))
        request = _Request(kind, number, sock, memoryview(content), time.monotonic())
        self._open[sock.fileno()] = request
        self._by_age.append(request)
        self._num_busy += kind == PREDICT
        sock.connect_ex(self._address)
        self._epoll.register(sock, select.EPOLLIN | select.EPOLLOUT)
        self._send(request)  # on loopback the connection is made by now

    def _advance(self, request: _Request) -> None:
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
        self._end(request, int(head[9:12]) if head.startswith(b"HTTP/1.1 ") and head[9:12].isdigit() else NO_ANSWER)

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
        self._num_busy -= request.kind == PREDICT
        seconds = time.monotonic() - request.began_s
        answer = Answer(request.kind, request.number, request.began_s, seconds, status, bytes(request.received))
        self._answers.append(answer)

    def _give_up(self, now_s: float) -> None:
        while self._by_age and (
            self._by_age[0].sock.fileno() < 0 or now_s - self._by_age[0].began_s > self._stream.patience_s
        ):
            request = self._by_age.popleft()
            if request.sock.fileno() >= 0:
                self._end(request, TIMED_OUT)

"""Load a server with N clients, each with one request under way, over connections that the server may keep open.

One thread and one selector without an HTTP library, because the servers share the cores; ``loadgen_check`` measures
what it costs. ``benchmarks.open_loop`` sends at a rate instead.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_READ_BYTES = 1 << 16
_HEAD_END = b"\r\n\r\n"
_OK = 200


class Response(NamedTuple):
    """What came back; ``status`` is 0 if it was no HTTP response."""

    status: int
    body: bytes


class Sample(NamedTuple):
    """One request: when it ended (seconds after the start), how long it took, and whether it was answered well."""

    ended_s: float
    seconds: float
    ok: bool


@dataclass(frozen=True, kw_only=True)
class Load:
    """How a server is loaded.

    Attributes:
        clients: Number of requests under way at once.
        seconds: How long the load is measured.
        warm_s: How long the clients run before that.
        max_requests: The number of requests that ends the load early.
        timeout_s: After which a request without an answer is an error.
        max_errors: The number of errors that ends the load early; a server that is gone refuses thousands per second.
    """

    clients: int
    seconds: float
    warm_s: float = 1.0
    max_requests: int = 5000
    timeout_s: float = 60.0
    max_errors: int = 200


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What was measured; latencies and rate leave out the warm-up and requests that failed.

    ``num_requests`` and ``generator_cpu_s`` count the warm-up too.
    """

    num_requests: int
    num_errors: int
    requests_per_s: float
    latencies_s: Sequence[float]
    generator_cpu_s: float
    first_error: str = ""

    def percentile(self, percent: float) -> float:
        """Return the nearest-rank percentile of the latencies in seconds; nan if there are none."""
        return percentile(self.latencies_s, percent)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile of ``values``; nan if there are none."""
    if not values:
        return float("nan")
    rank = -(-percent * len(values) // 100)
    return sorted(values)[max(0, int(rank) - 1)]


def run_load(port: int, make_request: Callable[[int], bytes], load: Load) -> LoadResult:
    """Send ``make_request(0)``, ``make_request(1)``, … to 127.0.0.1 and wait for every answer.

    Args:
        port: Where the server listens.
        make_request: The bytes of the n-th request, head and body.
        load: How many at once, and how long.
    """
    return _Generator(port, make_request, load).run()


def is_verdict(response: Response) -> bool:
    """Return whether ``response`` has status 200 and a JSON object with a prediction."""
    if response.status != _OK:
        return False
    try:
        content = json.loads(response.body)
    except ValueError:
        return False
    return isinstance(content, dict) and "prediction" in content


@dataclass
class _Client:
    """A connection and its current request."""

    sock: socket.socket | None = None
    used: bool = False  # the connection has carried an answer, so the server may have closed it meanwhile
    outgoing: memoryview = field(default_factory=lambda: memoryview(b""))
    request: bytes = b""
    received: bytearray = field(default_factory=bytearray)
    started: float = 0.0
    retried: bool = False


class _Generator:
    def __init__(self, port: int, make_request: Callable[[int], bytes], load: Load) -> None:
        self._address = ("127.0.0.1", port)
        self._make_request = make_request
        self._load = load
        self._selector = selectors.DefaultSelector()
        self._num_started = 0
        self._num_errors = 0
        self._samples: list[Sample] = []
        self._first_error = ""

    def run(self) -> LoadResult:
        cpu = time.thread_time()
        self._begin = time.perf_counter()
        self._stop = self._begin + self._load.warm_s + self._load.seconds
        clients = [_Client() for _ in range(self._load.clients)]
        self._busy = {id(client): client for client in clients}
        try:
            for client in clients:
                self._next(client)
            while self._busy:
                self._wait()
        finally:
            for client in clients:
                self._drop(client)
            self._selector.close()
        return self._summarize(time.thread_time() - cpu)

    def _wait(self) -> None:
        for key, _ in self._selector.select(timeout=0.5):
            client: _Client = key.data
            try:
                self._advance(client)
            except OSError as error:
                self._broken(client, repr(error))
        now = time.perf_counter()
        for client in list(self._busy.values()):
            if now - client.started > self._load.timeout_s:
                self._drop(client)
                self._finish(client, Response(0, b"timed out"))

    def _next(self, client: _Client) -> None:
        """Start the client's next request, or end the client."""
        load = self._load
        spent = self._num_started >= load.max_requests or self._num_errors >= load.max_errors
        if spent or time.perf_counter() >= self._stop:
            self._busy.pop(id(client), None)
            self._drop(client)
            return
        client.request = self._make_request(self._num_started)
        self._num_started += 1
        client.retried = False
        client.started = time.perf_counter()
        self._send(client)

    def _send(self, client: _Client) -> None:
        client.outgoing = memoryview(client.request)
        client.received = bytearray()
        if client.sock is None:
            client.sock = socket.socket()
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sock.setblocking(False)
            client.sock.connect_ex(self._address)
            client.used = False
            self._selector.register(client.sock, selectors.EVENT_WRITE, client)
        else:
            self._selector.modify(client.sock, selectors.EVENT_WRITE, client)

    def _advance(self, client: _Client) -> None:
        assert client.sock is not None  # noqa: S101 - it is registered
        if client.outgoing:
            client.outgoing = client.outgoing[client.sock.send(client.outgoing) :]
            if not client.outgoing:
                self._selector.modify(client.sock, selectors.EVENT_READ, client)
            return
        piece = client.sock.recv(_READ_BYTES)
        client.received += piece
        response, keep = parse_response(client.received, ended=not piece)
        if response is None:
            if not piece:
                self._broken(client, f"connection closed after {len(client.received)} bytes")
            return
        client.used = True
        if not keep or not piece:
            self._drop(client)
        self._finish(client, response)

    def _broken(self, client: _Client, reason: str) -> None:
        stale = client.used and not client.received and not client.retried
        self._drop(client)
        if stale:  # the server had closed an idle connection: any client tries once more
            client.retried = True
            self._send(client)
        else:
            self._finish(client, Response(0, reason.encode()))

    def _finish(self, client: _Client, response: Response) -> None:
        now = time.perf_counter()
        ok = is_verdict(response)
        self._num_errors += not ok
        if not ok and not self._first_error:
            self._first_error = f"{response.status}: {response.body[:300].decode(errors='replace')}"
        self._samples.append(Sample(now - self._begin, now - client.started, ok))
        self._next(client)

    def _drop(self, client: _Client) -> None:
        if client.sock is not None:
            self._selector.unregister(client.sock)
            client.sock.close()
            client.sock = None

    def _summarize(self, cpu_s: float) -> LoadResult:
        end = self._load.warm_s + self._load.seconds
        good = [sample for sample in self._samples if sample.ok]
        measured = [sample.seconds for sample in good if self._load.warm_s < sample.ended_s <= end]
        return LoadResult(
            num_requests=len(self._samples),
            num_errors=len(self._samples) - len(good),
            requests_per_s=rate([sample.ended_s for sample in good], self._load.warm_s, end),
            latencies_s=measured,
            generator_cpu_s=cpu_s,
            first_error=self._first_error,
        )


def rate(ends_s: Sequence[float], begin_s: float, end_s: float) -> float:
    """Return answers per second between the last one before ``begin_s`` and the last one before ``end_s``.

    Counting from answer to answer keeps a server that answers in batches from gaining or losing one by chance.
    """
    before = [end for end in ends_s if end <= begin_s]
    within = [end for end in ends_s if begin_s < end <= end_s]
    start = max(before, default=begin_s)
    return len(within) / (max(within) - start) if within else 0.0


def parse_response(data: bytearray, *, ended: bool) -> tuple[Response | None, bool]:
    """Parse an HTTP/1.x response.

    Args:
        data: What has come so far.
        ended: Whether the server has closed the connection.

    Returns:
        The response, or None while some of it is missing; and whether the connection may carry another one.
    """
    head_end = data.find(_HEAD_END)
    if head_end < 0:
        return None, False
    lines = bytes(data[:head_end]).split(b"\r\n")
    fields = dict(line.lower().split(b":", 1) for line in lines[1:] if b":" in line)
    version, _, rest = lines[0].partition(b" ")
    status = int(rest[:3]) if rest[:3].isdigit() else 0
    keep = version == b"HTTP/1.1" and fields.get(b"connection", b"").strip() != b"close"
    body = bytes(data[head_end + len(_HEAD_END) :])
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        whole = _join_chunks(body)
        return (None, False) if whole is None else (Response(status, whole), keep)
    if b"content-length" in fields:
        length = int(fields[b"content-length"])
        return (Response(status, body[:length]), keep) if len(body) >= length else (None, False)
    return (Response(status, body), False) if ended else (None, False)


def _join_chunks(body: bytes) -> bytes | None:
    whole = b""
    while True:
        size, separator, rest = body.partition(b"\r\n")
        if not separator:
            return None
        length = int(size.split(b";")[0], 16)
        if len(rest) < length + 2:
            return None
        if not length:
            return whole
        whole += rest[:length]
        body = rest[length + 2 :]

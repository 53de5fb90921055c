"""The load generator against real servers on loopback, which answer in every way HTTP allows."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.serving.load import Load, Response, is_verdict, parse_response, percentile, rate, run_load
from benchmarks.serving.loadgen_check import IdleServer

if TYPE_CHECKING:
    from collections.abc import Iterator

VERDICT = b'{"prediction": "Offensive", "probability": 0.1}'


class Handler(BaseHTTPRequestHandler):
    """Answers as the path says; keeps what it was sent, and how many connections it saw."""

    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.num_connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        self.server.most_at_once = max(self.server.most_at_once, self.server.enter(1))
        time.sleep(0.02 if self.path == "/slow" else 0.0)
        self.server.enter(-1)
        if self.path == "/broken" and len(self.server.bodies) % 2:
            self.send_error(503)
            return
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(VERDICT), VERDICT))
            return
        if self.path == "/close":
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(VERDICT)))
        self.end_headers()
        self.wfile.write(VERDICT)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, protocol: str) -> None:
        self.bodies: list[bytes] = []
        self.num_connections = self.most_at_once = self._inside = 0
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), type("Handler", (Handler,), {"protocol_version": protocol}))

    def enter(self, by: int) -> int:
        with self._lock:
            self._inside += by
            return self._inside


@contextlib.contextmanager
def serving(protocol: str = "HTTP/1.1") -> Iterator[Server]:
    with Server(protocol) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def post(path: str) -> Any:
    def make(number: int) -> bytes:
        body = f"meme {number}".encode()
        return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    return make


@pytest.mark.parametrize(
    ("path", "protocol", "num_connections"),
    [
        ("/", "HTTP/1.1", 3),
        ("/chunked", "HTTP/1.1", 3),
        ("/close", "HTTP/1.1", 40),
        ("/", "HTTP/1.0", 40),
        ("/close", "HTTP/1.0", 40),
    ],
)
def test_every_request_is_sent_once_and_answered(path: str, protocol: str, num_connections: int) -> None:
    with serving(protocol) as server:
        load = Load(clients=3, seconds=30.0, warm_s=0.0, max_requests=40)
        result = run_load(server.server_port, post(path), load)
    assert (result.num_requests, result.num_errors) == (40, 0)
    assert sorted(server.bodies) == sorted(f"meme {number}".encode() for number in range(40))
    assert len(result.latencies_s) == 40
    assert server.num_connections == num_connections


def test_as_many_requests_as_clients_are_under_way_and_latencies_are_theirs() -> None:
    with serving() as server:
        result = run_load(server.server_port, post("/slow"), Load(clients=4, seconds=0.5, warm_s=0.1))
    assert server.most_at_once == 4
    assert 0.02 <= result.percentile(50) < 0.2
    assert 4 / 0.2 < result.requests_per_s < 4 / 0.02
    assert result.percentile(99) >= result.percentile(95) >= result.percentile(50)
    assert len(result.latencies_s) < result.num_requests  # the warm-up is left out


def test_errors_are_counted_and_no_latency() -> None:
    with serving() as server:
        load = Load(clients=1, seconds=30.0, warm_s=0.0, max_requests=20)
        result = run_load(server.server_port, post("/broken"), load)
    assert (result.num_requests, result.num_errors, len(result.latencies_s)) == (20, 10, 10)
    assert result.first_error.startswith("503")


def test_a_server_that_is_not_there_ends_the_cell_early() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening
        result = run_load(taken.getsockname()[1], post("/"), Load(clients=2, seconds=60.0, max_errors=10))
    assert 10 <= result.num_errors == result.num_requests < 15
    assert math.isnan(result.percentile(50))


def test_a_silent_server_is_an_error_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        load = Load(clients=1, seconds=0.1, warm_s=0.0, timeout_s=0.3)
        result = run_load(silent.getsockname()[1], post("/"), load)
    assert (result.num_requests, result.num_errors, result.first_error) == (1, 1, "0: timed out")


def test_a_connection_closed_while_idle_is_opened_again_and_no_error() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(VERDICT), VERDICT)
    accepted = []

    def serve(listening: socket.socket) -> None:
        for _ in range(5):
            connection, _ = listening.accept()
            with connection:
                accepted.append(connection.recv(1 << 16))
                connection.sendall(answer)  # promises to stay open, and does not

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        load = Load(clients=1, seconds=30.0, warm_s=0.0, max_requests=5)
        result = run_load(listening.getsockname()[1], post("/"), load)
        thread.join()
    assert (result.num_requests, result.num_errors) == (5, 0)
    assert len(accepted) == 5


def test_the_generator_is_far_from_being_the_bottleneck() -> None:
    with IdleServer(0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        result = run_load(server.server_address[1], post("/"), Load(clients=8, seconds=0.5, warm_s=0.1))
        server.shutdown()
        thread.join()
    assert result.num_errors == 0
    assert result.generator_cpu_s / result.num_requests < 0.001  # a meme costs ten times that at the very least


def test_percentiles_are_nearest_ranks() -> None:
    values = [value / 100 for value in range(100, 0, -1)]
    assert [percentile(values, q) for q in (1, 50, 95, 99, 100)] == [0.01, 0.5, 0.95, 0.99, 1.0]
    assert percentile([7.0], 50) == 7.0
    assert math.isnan(percentile([], 50))


def test_rate_counts_from_answer_to_answer() -> None:
    batches = [end for second in range(1, 12) for end in [float(second)] * 32]
    assert rate(batches, 2.5, 9.7) == pytest.approx(32.0)
    assert rate([], 0.0, 1.0) == 0.0


@pytest.mark.parametrize(
    ("data", "ended", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", False, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", False, Response(200, b"ab")),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
            False,
            Response(200, b"abc"),
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nb", False, None),
        (b"HTTP/1.0 404 Not Found\r\n\r\nno", False, None),
        (b"HTTP/1.0 404 Not Found\r\n\r\nno", True, Response(404, b"no")),
        (b"HTTP/1.1 20", False, None),
    ],
)
def test_responses_are_read_to_their_end(data: bytes, ended: bool, expected: Response | None) -> None:  # noqa: FBT001
    assert parse_response(bytearray(data), ended=ended)[0] == expected


@pytest.mark.parametrize("body", [b"{}", b"[]", b"prediction", b""])
def test_only_a_verdict_is_a_success(body: bytes) -> None:
    assert is_verdict(Response(200, VERDICT))
    assert not is_verdict(Response(200, body))
    assert not is_verdict(Response(500, VERDICT))

"""The generator of the overload benchmark sends what it says and reports what it saw."""

from __future__ import annotations

import socketserver
import threading
from typing import TYPE_CHECKING

import pytest

from benchmarks.overload.generator import FAILED, TIMED_OUT, Stream, send_stream

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        request = self.request.recv(1 << 16)
        if b"silent" in request:
            self.request.recv(1)
        elif b"broken" not in request:
            self.request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def port() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_requests_come_at_their_rate_with_probes_beside_them(port: int) -> None:
    samples = send_stream(port, lambda _: b"GET /x", Stream(seconds=0.5, rate=100, has_probes=True))
    kinds = [sample.kind for sample in samples]
    assert 40 <= kinds.count("predict") <= 50
    assert (kinds.count("/healthz"), kinds.count("/readyz")) == (1, 1)
    assert {sample.status for sample in samples} == {503}


@pytest.mark.parametrize(("what", "status"), [("silent", TIMED_OUT), ("broken", FAILED)])
def test_no_answer_is_told_from_a_bad_one(port: int, what: str, status: int) -> None:
    stream = Stream(seconds=0.1, patience_s=0.3, clients=3)
    samples = send_stream(port, lambda _: f"GET /{what}".encode(), stream)
    assert {sample.status for sample in samples} == {status}


def test_a_number_of_clients_wait_for_their_answers(port: int) -> None:
    samples = send_stream(port, lambda _: b"GET /silent", Stream(seconds=0.1, patience_s=0.3, clients=3))
    assert len(samples) == 3

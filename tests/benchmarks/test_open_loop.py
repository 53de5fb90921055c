"""The open loop sends requests at its rate and reports every answer."""

from __future__ import annotations

import math
import socketserver
import threading
from typing import TYPE_CHECKING

import pytest

from benchmarks.open_loop import NO_ANSWER, TIMED_OUT, Stream, send_stream

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        request = self.request.recv(1 << 16)
        if b"silent" in request:
            self.request.recv(1)
        elif b"broken" not in request:
            self.request.sendall(b'HTTP/1.1 503 Busy\r\nContent-Length: 13\r\nRetry-After: 7\r\n\r\n{"code": "x"}')


@pytest.fixture
def port() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_requests_come_at_their_rate_with_probes_beside_them(port: int) -> None:
    answers = send_stream(port, lambda _: b"GET /x", Stream(seconds=0.5, rate=100, has_probes=True))
    kinds = [answer.kind for answer in answers]
    assert 40 <= kinds.count("predict") <= 50
    assert (kinds.count("/healthz"), kinds.count("/readyz")) == (1, 1)
    assert {answer.status for answer in answers} == {503}


@pytest.mark.parametrize(("what", "status"), [("silent", TIMED_OUT), ("broken", NO_ANSWER)])
def test_no_answer_is_told_from_a_bad_one(port: int, what: str, status: int) -> None:
    stream = Stream(seconds=0.1, patience_s=0.3, clients=3)
    answers = send_stream(port, lambda _: f"GET /{what}".encode(), stream)
    assert {answer.status for answer in answers} == {status}


def test_a_number_of_clients_wait_for_their_answers(port: int) -> None:
    answers = send_stream(port, lambda _: b"GET /silent", Stream(seconds=0.1, patience_s=0.3, clients=3))
    assert len(answers) == 3


def test_an_answer_has_its_number_body_and_headers(port: int) -> None:
    answers = send_stream(port, lambda _: b"GET /x", Stream(seconds=0.2, rate=50))
    assert sorted(answer.number for answer in answers) == list(range(len(answers)))
    assert {(answer.body["code"], answer.retry_after) for answer in answers} == {("x", "7")}
    (broken,) = send_stream(port, lambda _: b"GET /broken", Stream(seconds=0.05, rate=20))
    assert (broken.body, broken.retry_after) == (None, "")


def test_no_more_connections_are_open_than_allowed(port: int) -> None:
    stream = Stream(seconds=0.1, patience_s=0.5, rate=1000, max_open=5)
    assert len(send_stream(port, lambda _: b"GET /silent", stream)) == 5


def test_an_event_ends_the_stream(port: int) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    assert send_stream(port, lambda _: b"GET /x", Stream(seconds=math.inf, rate=50), stop=stop)

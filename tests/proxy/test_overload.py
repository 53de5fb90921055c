"""Under overload, the proxy refuses at once, slow clients do not delay others, and the log holds nothing of clients."""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from tests.proxy.test_gunicorn import HEAD, exchange, post

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.proxy.conftest import NarrowProxy, Upstream

_PATIENCE_S = 20.0  # longer than the queue takes to fill, on a busy machine too

# A body that never comes: it would be waited for if it were read before it is refused.
FULL_HEAD = f"{HEAD}Content-Length: 900000\r\nX-Request-Id: mine-1\r\nOrigin: https://page.example\r\n\r\n"


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10)


def wait_until_full(url: str) -> str:
    """Return the refusal of a request without its body; before the queue is full it would be waited for."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        with connect(url) as connection:
            connection.settimeout(0.3)
            connection.sendall(FULL_HEAD.encode())
            with contextlib.suppress(TimeoutError):
                return connection.recv(65536).decode()
    pytest.fail("nothing was refused")


@contextlib.contextmanager
def full(narrow: NarrowProxy) -> Iterator[str]:
    """Hold the one slot and the one place in the queue; yields what one more is told."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as clients:
        release = Path(folder) / "release"
        answers = [clients.submit(post, narrow.url, 10, f"until {release}")]
        time.sleep(0.5)
        answers.append(clients.submit(post, narrow.url, 10, "waits"))
        try:
            yield wait_until_full(narrow.url)
            assert not answers[0].done(), "the block took longer than the slot was held"
        finally:
            release.touch()
            statuses = [answer.result().status_code for answer in answers]
        assert statuses == [200, 200]


def test_the_surplus_is_refused_before_its_body_is_read(narrow: NarrowProxy) -> None:
    with full(narrow) as refusal:
        head, _, body = refusal.partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 503 ")
        assert "\r\nRetry-After: 1" in head
        assert "\r\nContent-Type: application/problem+json" in head
        assert "\r\nX-Request-Id: mine-1" in head
        assert "\r\nAccess-Control-Allow-Origin: https://page.example" in head
        assert (json.loads(body)["code"], json.loads(body)["request_id"]) == ("overloaded", "mine-1")


def test_the_surplus_gets_its_answer_whatever_it_sends(narrow: NarrowProxy) -> None:
    """Were the connection closed with bytes unread, it would be reset, and the answer lost."""
    with full(narrow):
        refused = [post(narrow.url, num_bytes) for num_bytes in (10, 5_000_000)]
    assert [answer.json()["code"] for answer in refused] == ["overloaded"] * 2


def test_a_length_of_thousands_of_digits_is_refused_like_any_other(narrow: NarrowProxy) -> None:
    """Python converts no more than 4300 of them; gevent would log the failure with the client's address."""
    with full(narrow), connect(narrow.url) as connection:
        connection.sendall(f"{HEAD}Content-Length: {'9' * 5000}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 503 ")
    assert_nothing_of_clients_in(narrow)


def test_the_surplus_of_a_kept_connection_is_refused_too(narrow: NarrowProxy) -> None:
    with requests.Session() as session:
        assert session.get(f"{narrow.url}/healthz", timeout=5).ok
        with full(narrow):
            answer = session.post(f"{narrow.url}/predict", files={"image": b"x"}, data={"text": ""}, timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")


def test_health_is_answered_while_there_is_too_much(narrow: NarrowProxy) -> None:
    with full(narrow):
        assert requests.get(f"{narrow.url}/healthz", timeout=5).ok
    assert requests.get(f"{narrow.url}/readyz", timeout=10).ok


def test_a_client_that_left_costs_no_prediction(narrow: NarrowProxy, upstream: Upstream) -> None:
    prepared = requests.Request("POST", narrow.url, files={"image": b"x"}, data={"text": "left"}).prepare()
    assert isinstance(prepared.body, bytes)
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {prepared.headers['Content-Type']}\r\n"
    request = f"{head}Content-Length: {len(prepared.body)}\r\n\r\n".encode() + prepared.body
    before = upstream.predictions()
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(post, narrow.url, 10, "sleep 1")
        time.sleep(0.3)
        with connect(narrow.url) as connection:
            connection.sendall(request)
            time.sleep(0.3)  # it waits for the slot
        assert first.result().status_code == 200
    assert post(narrow.url, 10).status_code == 200
    assert upstream.predictions() - before == 2


def test_hundreds_of_slow_clients_take_nothing_from_others(narrow: NarrowProxy) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            head, body = (stack.enter_context(connect(narrow.url)) for _ in ("head", "body"))
            head.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            body.sendall(f"{HEAD}Content-Length: 1000000\r\n\r\n--edge".encode())
        assert requests.get(f"{narrow.url}/healthz", timeout=5).ok
        assert requests.get(f"{narrow.url}/readyz", timeout=5).ok
        assert [post(narrow.url, 1000).status_code for _ in range(5)] == [200] * 5


def test_the_oldest_that_sends_no_request_makes_room(narrow: NarrowProxy) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(narrow.url)) for _ in range(600)]  # of 450
        assert post(narrow.url, 1000).status_code == 200
        assert idle[0].recv(1) == b""
    assert_nothing_of_clients_in(narrow)


def test_a_head_that_does_not_end_is_not_waited_for(narrow: NarrowProxy) -> None:
    began_s = time.monotonic()
    with connect(narrow.url) as connection:
        connection.settimeout(2.0)
        closed = False
        while not closed and time.monotonic() - began_s < 30:
            try:
                connection.sendall(b"X")
                closed = connection.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                closed = True
    assert closed


@pytest.mark.parametrize(
    ("request_text", "status", "code"),
    [
        ("GET /secret secret HTTP/1.1\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nsecret secret: x\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/9.9\r\nsecret: x\r\n\r\n", 400, "malformed_request"),
        (f"GET /{'secret' * 1000} HTTP/1.1\r\n\r\n", 414, "request_line_too_long"),
        (f"GET / HTTP/1.1\r\nX: {'secret' * 5000}\r\n\r\n", 431, "headers_too_large"),
        ("GET / HTTP/1.1\r\nExpect: secret\r\n\r\n", 417, "expectation_failed"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, secret\r\n\r\n", 501, "unsupported_transfer_coding"),
    ],
)
def test_what_is_not_http_is_told_so_and_not_logged(
    narrow: NarrowProxy, request_text: str, status: int, code: str
) -> None:
    head, _, body = exchange(narrow.url, request_text, finish=True).partition("\r\n\r\n")
    problem = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert "\r\nContent-Type: application/problem+json" in head
    assert (problem["status"], problem["code"]) == (status, code)
    assert f"\r\nX-Request-Id: {problem['request_id']}" in head
    assert_nothing_of_clients_in(narrow)


def test_what_follows_a_body_of_false_length_is_not_logged(narrow: NarrowProxy) -> None:
    body = '--edge\r\nContent-Disposition: form-data; name="text"\r\n\r\nsecret caption\r\n--edge--\r\n'
    for length in range(len(body) - 40, len(body), 7):
        exchange(narrow.url, f"{HEAD}Content-Length: {length}\r\n\r\n{body}", finish=True)
    assert_nothing_of_clients_in(narrow)


def assert_nothing_of_clients_in(narrow: NarrowProxy) -> None:
    log = "".join(line for line in narrow.log.read_text().splitlines(keepends=True) if "Listening at" not in line)
    assert "secret" not in log
    assert "127.0.0.1" not in log
    assert "Traceback" not in log

"""Answers reach a client over a real connection, from the proxy under its own gunicorn configuration."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY_LIMIT = 1_000_000
HEAD = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=edge\r\n"


def post(url: str, num_bytes: int, text: str = "") -> requests.Response:
    files = {"image": ("meme.png", bytes(num_bytes))}
    return requests.post(f"{url}/predict", files=files, data={"text": text}, timeout=20)


def chunked(num_bytes: int) -> Iterator[bytes]:
    yield b'--edge\r\nContent-Disposition: form-data; name="text"\r\n\r\nx\r\n'
    yield b'--edge\r\nContent-Disposition: form-data; name="image"; filename="meme.png"\r\n\r\n'
    for _ in range(num_bytes // 10_000):
        yield bytes(10_000)
    yield b"\r\n--edge--\r\n"


def post_chunked(url: str, num_bytes: int) -> requests.Response:
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    return requests.post(f"{url}/predict", data=chunked(num_bytes), headers=headers, timeout=20)


def exchange(url: str, request: str, *, finish: bool) -> str:
    """Send raw bytes and return all that comes back; ``finish`` says that nothing more will be sent."""
    address = urlsplit(url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
        connection.sendall(request.encode())
        if finish:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while received := connection.recv(65536):
            answer += received
    return answer.decode()


def curl(url: str, folder: Path, image: bytes) -> str:
    """Do as the original's README says, and return the answer's body and status."""
    (folder / "meme.png").write_bytes(image)
    form = ["-F", "image=@meme.png", "-F", "text=a caption", "-w", "%{http_code}"]
    command = [str(shutil.which("curl")), "-sS", "-X", "POST", *form, f"{url}/predict"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_a_prediction_arrives(gunicorn: str) -> None:
    response = post(gunicorn, 1000)
    assert (response.status_code, response.json()["probability"]) == (200, 0.625)


def test_a_prediction_arrives_at_curl(gunicorn: str, tmp_path: Path) -> None:
    answer = curl(gunicorn, tmp_path, b"png")
    assert answer.startswith('{"prediction":"Non-offensive","probability":0.625')
    assert answer.endswith("200")


@pytest.mark.parametrize("num_bytes", [BODY_LIMIT, 5_000_000, 40_000_000])
def test_a_client_that_sent_too_much_is_told(gunicorn: str, num_bytes: int) -> None:
    response = post(gunicorn, num_bytes)
    assert response.status_code == 413
    assert f"the limit is {BODY_LIMIT} bytes" in response.json()["detail"]


def test_a_client_that_listens_only_after_sending_is_told(gunicorn: str) -> None:
    """Were the body left unread, sending it would fail before the answer could be read."""
    head = f"{HEAD}Content-Length: 20000000\r\nConnection: close\r\n\r\n"
    assert exchange(gunicorn, head + "x" * 20_000_000, finish=True).startswith("HTTP/1.1 413 ")


def test_curl_that_sent_too_much_is_told(gunicorn: str, tmp_path: Path) -> None:
    assert curl(gunicorn, tmp_path, bytes(5_000_000)).endswith("413")


def test_a_body_of_unannounced_length_is_read(gunicorn: str) -> None:
    assert post_chunked(gunicorn, 100_000).status_code == 200


@pytest.mark.parametrize("num_bytes", [BODY_LIMIT, 20_000_000])
def test_a_body_of_unannounced_length_is_bounded(gunicorn: str, num_bytes: int) -> None:
    response = post_chunked(gunicorn, num_bytes)
    assert response.status_code == 413
    assert f"the limit is {BODY_LIMIT} bytes" in response.json()["detail"]


@pytest.mark.parametrize("path", ["/nowhere", "/healthz"])
def test_an_unwanted_body_does_not_cost_the_answer(gunicorn: str, path: str) -> None:
    response = requests.post(f"{gunicorn}{path}", data=bytes(5_000_000), timeout=20)
    assert response.status_code in {404, 405}


def test_a_connection_serves_on_after_an_error(gunicorn: str) -> None:
    with requests.Session() as session:
        too_large = session.post(f"{gunicorn}/predict", data=bytes(2 * BODY_LIMIT), timeout=20)
        missing = session.post(f"{gunicorn}/predict", timeout=20)
        fine = session.get(f"{gunicorn}/healthz", timeout=20)
    assert [too_large.status_code, missing.status_code, fine.status_code] == [400, 400, 200]


def test_a_stalled_body_times_out(gunicorn: str) -> None:
    answer = exchange(gunicorn, f"{HEAD}Content-Length: 1000\r\n\r\n--edge", finish=False)
    assert answer.startswith("HTTP/1.1 408 ")
    assert "no byte of the body arrived for 0.5 s" in answer


def test_a_body_that_trickles_on_and_on_times_out(gunicorn: str) -> None:
    address = urlsplit(gunicorn)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
        connection.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n".encode())
        connection.setblocking(False)
        answer = b""
        for _ in range(100):  # a byte every 0.2 s never stalls for 0.5 s
            time.sleep(0.2)
            try:
                connection.send(b"-")
                answer = connection.recv(65536)
            except BlockingIOError:
                continue
            break
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the body took longer than 4.0 s" in answer


def test_a_body_cut_off_is_malformed(gunicorn: str) -> None:
    answer = exchange(gunicorn, f"{HEAD}Content-Length: 1000\r\n\r\n--edge", finish=True)
    assert answer.startswith("HTTP/1.1 400 ")
    assert "malformed_multipart" in answer


@pytest.mark.parametrize("chunks", ["zz\r\nedge\r\n0\r\n\r\n", "4\r\nedgeXX0\r\n\r\n", "4\r\ned"])
def test_broken_chunks_are_the_clients_fault(gunicorn: str, chunks: str) -> None:
    answer = exchange(gunicorn, f"{HEAD}Transfer-Encoding: chunked\r\n\r\n{chunks}", finish=True)
    assert answer.startswith("HTTP/1.1 400 ")
    assert "unreadable_body" in answer


def test_a_client_that_leaves_disturbs_nobody(gunicorn: str) -> None:
    address = urlsplit(gunicorn)
    for _ in range(40):  # more than there are threads
        with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
            connection.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n--edge".encode())
    assert post(gunicorn, 10).status_code == 200


def test_everybody_gets_the_answer_to_their_own_meme(gunicorn: str) -> None:
    """Keys expire meanwhile, in both of gunicorn's processes."""
    texts = [f"caption {index}" for index in range(300)]
    with ThreadPoolExecutor(max_workers=24) as clients:
        answers = clients.map(lambda text: post(gunicorn, 1000, text), texts)
    assert [answer.json()["text"] for answer in answers] == texts

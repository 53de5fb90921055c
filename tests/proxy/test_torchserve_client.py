"""The client renews its keys, and distinguishes the failures of TorchServe."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import requests

from benchmarks.ports import free_ports
from proxy.key_file import Audience, lock_keys, read_keys
from proxy.upstream import UpstreamAnswer, UpstreamRefused, UpstreamTimeout, UpstreamUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from proxy.torchserve_client import TorchServeClient
    from tests.proxy.conftest import Upstream

    Connect = Callable[..., TorchServeClient]

TOKEN_LIFE_S = 3
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def renew(upstream: Upstream, audience: Audience) -> None:
    """Renew a key as another client would: the one before it is worth nothing from now on."""
    keys = read_keys(upstream.key_file)
    headers = {"Authorization": f"Bearer {keys[Audience.RENEWAL]}"}
    parameters = {"type": audience.value}
    requests.get(f"{upstream.management_url}/token", params=parameters, headers=headers, timeout=5).raise_for_status()


@contextmanager
def peer(connections: Sequence[Sequence[bytes | None]]) -> Iterator[str]:
    """Answer each connection's requests with the given bytes, None meaning never; then close it. Expect no others."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve() -> None:
            for answers in connections:
                connection, _ = listener.accept()
                with connection:
                    for answer in answers:
                        connection.recv(65536)
                        if answer is None:
                            time.sleep(0.5)
                        else:
                            connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_the_worker_gets_both_parts_to_the_byte(client: TorchServeClient) -> None:
    image = random.Random(0).randbytes(200_000)
    body = client.predict(image=image, text="null \x00, emoji 😀").body
    assert body["image_sha256"] == hashlib.sha256(image).hexdigest()
    assert body["text"] == "null \x00, emoji 😀"


def test_a_key_another_client_renewed_is_read_anew(client: TorchServeClient, upstream: Upstream) -> None:
    client.predict(image=b"x", text="")
    renew(upstream, Audience.INFERENCE)
    before = upstream.renewals()
    assert client.predict(image=b"x", text="").status == 200
    assert upstream.renewals() == before


def test_an_expired_key_is_renewed_once_for_everybody(connect: Connect, upstream: Upstream) -> None:
    """Two clients stand for gunicorn's two processes: they share nothing but the file."""
    clients = [connect(), connect()]
    for client in clients:
        client.predict(image=b"x", text="")
    time.sleep(TOKEN_LIFE_S)
    before = upstream.renewals()
    with ThreadPoolExecutor(max_workers=16) as threads:
        statuses = list(threads.map(lambda index: clients[index % 2].predict(image=b"x", text="").status, range(32)))
    assert statuses == [200] * 32
    assert upstream.renewals() == before + 1


def test_a_key_that_is_being_renewed_is_waited_for(client: TorchServeClient, upstream: Upstream) -> None:
    client.predict(image=b"x", text="")
    time.sleep(TOKEN_LIFE_S)
    with ThreadPoolExecutor(max_workers=1) as thread:
        with lock_keys(upstream.key_file):
            prediction = thread.submit(client.predict, image=b"x", text="")
            time.sleep(0.3)
            assert not prediction.done()
            renew(upstream, Audience.INFERENCE)
            before = upstream.renewals()
        assert prediction.result().status == 200
    assert upstream.renewals() == before


def test_a_key_renewed_by_another_client_may_have_expired_as_well(client: TorchServeClient, upstream: Upstream) -> None:
    client.predict(image=b"x", text="")
    renew(upstream, Audience.INFERENCE)
    time.sleep(TOKEN_LIFE_S)
    assert client.predict(image=b"x", text="").status == 200


def test_the_management_key_is_renewed_too(client: TorchServeClient, upstream: Upstream) -> None:
    client.describe()
    renew(upstream, Audience.MANAGEMENT)
    assert client.describe()
    time.sleep(TOKEN_LIFE_S)
    assert client.describe()


def test_a_half_written_key_file_is_read_again(connect: Connect, upstream: Upstream, tmp_path: Path) -> None:
    renew(upstream, Audience.INFERENCE)
    copy = tmp_path / "key_file.json"
    content = upstream.key_file.read_bytes()
    copy.write_bytes(content[:40])
    completion = threading.Timer(0.2, copy.write_bytes, [content])
    completion.start()
    assert connect(key_file=copy).predict(image=b"x", text="").status == 200
    completion.join()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"inference": "key"}'])
def test_a_key_file_without_keys_makes_upstream_unavailable(connect: Connect, tmp_path: Path, content: bytes) -> None:
    key_file = tmp_path / "key_file.json"
    key_file.write_bytes(content)
    with pytest.raises(UpstreamUnavailable, match="keys cannot be read"):
        connect(key_file=key_file).predict(image=b"x", text="")


def test_keys_are_found_once_torchserve_has_written_them(connect: Connect, upstream: Upstream, tmp_path: Path) -> None:
    client = connect(key_file=tmp_path / "key_file.json")
    with pytest.raises(UpstreamUnavailable, match="is it running"):
        client.predict(image=b"x", text="")
    renew(upstream, Audience.INFERENCE)
    shutil.copy(upstream.key_file, tmp_path)
    assert client.predict(image=b"x", text="").status == 200


def test_foreign_keys_do_not_open_anything(connect: Connect, tmp_path: Path) -> None:
    key_file = tmp_path / "key_file.json"
    key_file.write_text(json.dumps({audience: {"key": "foreign"} for audience in Audience}))
    with pytest.raises(UpstreamUnavailable, match="does not renew the inference key: status 400"):
        connect(key_file=key_file).predict(image=b"x", text="")


def test_a_copied_key_file_that_is_never_rewritten_is_reported(
    connect: Connect, upstream: Upstream, tmp_path: Path
) -> None:
    shutil.copy(upstream.key_file, tmp_path)
    client = connect(key_file=tmp_path / "key_file.json")
    renew(upstream, Audience.INFERENCE)
    with pytest.raises(UpstreamUnavailable, match="refuses the inference key"):
        client.predict(image=b"x", text="")


def test_the_environment_does_not_reroute_requests(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert connect().predict(image=b"x", text="").status == 200


def test_nobody_listening_is_unavailable(connect: Connect) -> None:
    with pytest.raises(UpstreamUnavailable, match="cannot be reached"):
        connect(inference_url=f"http://127.0.0.1:{free_ports(1)[0]}").predict(image=b"x", text="")


def test_a_connection_that_does_not_open_is_unavailable(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(3)]  # they fill the listener's queue; nobody accepts
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        client = connect(inference_url=f"http://127.0.0.1:{address[1]}", connect_timeout_s=0.5)
        started_at = time.monotonic()
        with pytest.raises(UpstreamUnavailable, match=r"no connection within 0\.5 s"):
            client.predict(image=b"x", text="")
        assert time.monotonic() - started_at < 2 * 0.5, "it tried twice"
        for one in waiting:
            one.close()


def test_a_slow_worker_is_a_timeout(connect: Connect) -> None:
    with pytest.raises(UpstreamTimeout, match=r"no answer within 0\.2 s"):
        connect(read_timeout_s=0.2).predict(image=b"x", text="sleep 0.5")


@contextmanager
def reader(begins_after_s: float) -> Iterator[str]:
    """Take a connection at once, and read what comes over it only after a while; then answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.settimeout(0.5)
                time.sleep(begins_after_s)
                with suppress(TimeoutError):
                    while connection.recv(1 << 20):
                        pass
                connection.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


LARGER_THAN_BUFFERS = bytes(16 * 2**20)


def test_sending_may_take_longer_than_connecting(connect: Connect) -> None:
    with reader(begins_after_s=1.0) as url:
        client = connect(inference_url=url, connect_timeout_s=0.2, send_timeout_s=10.0)
        assert client.predict(image=LARGER_THAN_BUFFERS, text="").status == 200


def test_a_meme_that_is_not_taken_in_is_a_timeout_of_sending(connect: Connect) -> None:
    with (
        reader(begins_after_s=1.5) as url,
        pytest.raises(UpstreamTimeout, match=r"did not take the request within 0\.5 s"),
    ):
        connect(inference_url=url, connect_timeout_s=0.2, send_timeout_s=0.5).predict(
            image=LARGER_THAN_BUFFERS, text=""
        )


def test_an_answer_that_stalls_is_a_timeout(connect: Connect) -> None:
    with peer([[OK[:-1], None]]) as url, pytest.raises(UpstreamTimeout):
        connect(inference_url=url, read_timeout_s=0.2).predict(image=b"x", text="")


def test_a_pooled_connection_closed_meanwhile_is_replaced(connect: Connect) -> None:
    with peer([[OK, b""], [OK]]) as url:
        client = connect(inference_url=url)
        answers = [client.predict(image=b"x", text="") for _ in range(2)]
    assert answers == [UpstreamAnswer(status=200, body={})] * 2


@pytest.mark.parametrize("cut", [0, 10, len(OK) - 1])
def test_an_answer_cut_off_twice_is_unavailable(connect: Connect, cut: int) -> None:
    with peer([[OK[:cut]], [OK[:cut]]]) as url, pytest.raises(UpstreamUnavailable, match="cannot be reached"):
        connect(inference_url=url).predict(image=b"x", text="")


def test_what_changes_something_is_not_sent_twice(connect: Connect) -> None:
    with peer([[b""]]) as url, pytest.raises(UpstreamUnavailable):
        connect(management_url=url).manage("POST", "/models", params={"url": "meme.mar"})


def test_a_model_is_described_with_its_workers(client: TorchServeClient) -> None:
    for version in ("all", "1.0.0"):
        (description,) = client.describe(version)
        assert (description["modelName"], description["modelVersion"]) == ("meme", "1.0.0")
        assert [worker["status"] for worker in description["workers"]] == ["READY"]


def test_an_unknown_version_is_refused(client: TorchServeClient) -> None:
    with pytest.raises(UpstreamRefused, match=r"meme, version 9\.9\.9: status 404") as raised:
        client.describe("9.9.9")
    assert raised.value.answer.error_type == "ModelVersionNotFoundException"


def test_management_requests_carry_their_parameters(client: TorchServeClient) -> None:
    answer = client.manage("PUT", "/models/meme", params={"min_worker": "1", "synchronous": "true"}, read_timeout_s=20)
    assert answer.status == 200

"""`memeguard serve` and `make serve`: one clear line if they cannot start, nothing left when they end."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests

from benchmarks.ports import PORT_OPTIONS, free_ports
from tests.e2e.conftest import (
    MEMEGUARD,
    REPOSITORY,
    Server,
    copy_archive,
    run_memeguard,
    serving,
)

if TYPE_CHECKING:
    from pathlib import Path


def refuse_to_serve(store: Path, tmp_path: Path, short_tmp: Path, *arguments: str) -> str:
    """Start a server that cannot start; return its one line of complaint."""
    ports = zip(PORT_OPTIONS, free_ports(len(PORT_OPTIONS)), strict=True)
    options = [*(f"--{name}={port}" for name, port in ports), f"--run-dir={tmp_path / 'run'}"]
    done = run_memeguard(
        *("serve", f"--model-store={store}", *options, *arguments), env={**os.environ, "TMPDIR": str(short_tmp)}
    )
    assert done.returncode == 1
    assert not any(short_tmp.glob("memeguard-*")), "its temporary folder is left"
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_both_versions_answer_and_the_newest_is_the_default(server: Server, good_image: bytes) -> None:
    assert server.worker_pids().keys() == {"0.1.0", "0.2.0"}
    assert server.predict(good_image, "who?").json()["version"] == "0.2.0"


def test_ready_and_healthy(server: Server) -> None:
    assert requests.get(f"{server.url}/healthz", timeout=10).json() == {"status": "ok"}
    assert requests.get(f"{server.url}/readyz", timeout=10).json()["status"] == "ready"


def test_only_loopback_is_listened_on(server: Server) -> None:
    family = [server.process, *server.process.children(recursive=True)]
    addresses = {
        connection.laddr.ip
        for process in family
        for connection in process.net_connections("tcp")
        if connection.status == "LISTEN"
    }
    assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_torchserve_wants_its_token(server: Server) -> None:
    for name, path in (("inference-port", "/ping"), ("management-port", "/models")):
        response = requests.get(f"http://127.0.0.1:{server.ports[name]}{path}", timeout=10)
        assert response.status_code == 400
        assert "InvalidKeyException" in response.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_every_process_and_frees_the_ports(
    store: Path, tmp_path: Path, short_tmp: Path, number: signal.Signals
) -> None:
    command = ["make", "serve", f"MODEL_STORE={store}"]
    with serving(command, tmp_path / "run", short_tmp, start_new_session=True) as server:
        if number == signal.SIGINT:  # a terminal sends it to make and memeguard alike
            family = server.process.children(recursive=True)
            os.killpg(server.process.pid, signal.SIGINT)
            server.process.wait(timeout=60)
            alive = [process for process in family if process.is_running()]
        else:
            _, alive = server.stop(number)
        assert alive == []
        for port in server.ports.values():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
    assert not any(short_tmp.glob("memeguard-*"))
    assert not (tmp_path / "run" / "key_file.json").exists()


def test_a_signal_during_the_start_ends_it(store: Path, tmp_path: Path, short_tmp: Path) -> None:
    ports = zip(PORT_OPTIONS, free_ports(len(PORT_OPTIONS)), strict=True)
    command = [MEMEGUARD, "serve", f"--model-store={store}", f"--run-dir={tmp_path / 'run'}"]
    command += [f"--{name}={port}" for name, port in ports]
    with subprocess.Popen(
        command, cwd=REPOSITORY, env={**os.environ, "TMPDIR": str(short_tmp)}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("starting TorchServe")
        process.terminate()
        assert process.wait(timeout=60) == 0
    assert not any(short_tmp.glob("memeguard-*"))


def test_a_taken_port(server: Server, store: Path, tmp_path: Path, short_tmp: Path) -> None:
    taken = server.ports["management-port"]
    line = refuse_to_serve(store, tmp_path, short_tmp, f"--management-port={taken}")
    assert f"port {taken} on 127.0.0.1 is taken" in line
    assert "--management-port" in line


def test_a_run_folder_in_use(server: Server, store: Path, tmp_path: Path, short_tmp: Path) -> None:
    assert "--run-dir" in refuse_to_serve(store, tmp_path, short_tmp, f"--run-dir={server.run_dir}")


def test_a_model_store_without_archives(tmp_path: Path, short_tmp: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    assert "holds no meme-<version>.mar" in refuse_to_serve(store, tmp_path, short_tmp)


def test_an_unknown_default_version(store: Path, tmp_path: Path, short_tmp: Path) -> None:
    assert "9.9.9" in refuse_to_serve(store, tmp_path, short_tmp, "--default-version=9.9.9")


def rewritten(archive: Path, target: Path, name: str, content: bytes) -> None:
    """Copy an archive with one member's content replaced, and give it a card of its own."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as copy:
        for member in source.namelist():
            copy.writestr(member, content if member == name else source.read(member))
    card = {"sha256": hashlib.sha256(target.read_bytes()).hexdigest()}
    target.with_suffix(".json").write_text(json.dumps(card))


def test_an_archive_with_damaged_weights(store: Path, tmp_path: Path, short_tmp: Path) -> None:
    own = tmp_path / "store"
    own.mkdir()
    rewritten(store / "meme-0.1.0.mar", own / "meme-0.1.0.mar", "bundle/model.safetensors", b"damaged")
    line = refuse_to_serve(own, tmp_path, short_tmp)
    assert "a worker cannot load its model" in line
    assert "sha256" in line


def test_an_archive_whose_handler_does_not_import(store: Path, tmp_path: Path, short_tmp: Path) -> None:
    own = tmp_path / "store"
    own.mkdir()
    rewritten(store / "meme-0.1.0.mar", own / "meme-0.1.0.mar", "meme_handler.py", b"import no_such_module")
    assert "a worker cannot load its model" in refuse_to_serve(own, tmp_path, short_tmp)


def test_a_file_that_is_no_archive(tmp_path: Path, short_tmp: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "meme-1.0.0.mar").write_bytes(b"no zip")
    assert "meme-1.0.0.mar is damaged" in refuse_to_serve(store, tmp_path, short_tmp, "--allow-unverified")


def test_the_card_describes_the_archive(store: Path) -> None:
    card = json.loads((store / "meme-0.1.0.json").read_text())
    assert card["sha256"] == hashlib.sha256((store / "meme-0.1.0.mar").read_bytes()).hexdigest()
    assert card["report"] == {"validation": {"model": {"auroc": 0.75}}}


def test_a_worker_that_dies_is_replaced_and_clients_are_told_to_try_again(
    store: Path, tmp_path: Path, short_tmp: Path, good_image: bytes
) -> None:
    with serving([MEMEGUARD, "serve", f"--model-store={store}"], tmp_path / "run", short_tmp) as server:
        [victim] = server.worker_pids()["0.1.0"]
        os.kill(victim, signal.SIGSTOP)  # so that the meme is with it when it dies
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(server.predict, good_image, "with the victim")
            time.sleep(0.5)
            os.kill(victim, signal.SIGKILL)
            assert answer.result().status_code == 503
            assert answer.result().headers["Retry-After"]
        deadline = time.monotonic() + 60
        while server.predict(good_image, "again").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert server.worker_pids()["0.1.0"] != [victim]


def test_a_version_that_torchserve_leaves_out(store: Path, tmp_path: Path, short_tmp: Path) -> None:
    own = tmp_path / "store"
    own.mkdir()
    copy_archive(store, own)
    with zipfile.ZipFile(store / "meme-0.1.0.mar") as archived:
        manifest = json.loads(archived.read("MAR-INF/MANIFEST.json"))
    manifest["runtime"] = "no-such-runtime"
    manifest["model"]["modelVersion"] = "0.0.9"
    content = json.dumps(manifest).encode()
    rewritten(store / "meme-0.1.0.mar", own / "meme-0.0.9.mar", "MAR-INF/MANIFEST.json", content)
    assert "cannot" in refuse_to_serve(own, tmp_path, short_tmp)


def test_one_port_for_two_servers(store: Path, tmp_path: Path, short_tmp: Path) -> None:
    [port] = free_ports(1)
    options = (f"--port={port}", f"--metrics-port={port}")
    assert f"port {port} is given twice" in refuse_to_serve(store, tmp_path, short_tmp, *options)


def test_an_address_that_is_not_ours(store: Path, tmp_path: Path, short_tmp: Path) -> None:
    assert "cannot listen on 192.0.2.1" in refuse_to_serve(store, tmp_path, short_tmp, "--host=192.0.2.1")

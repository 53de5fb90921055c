"""Every part of a real server that dies is started again, and a killed `memeguard serve` leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from benchmarks.ports import PORT_OPTIONS, free_ports
from tests.e2e.conftest import MEMEGUARD, Server, run_memeguard, serving
from tests.e2e.test_serve import rewritten

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = ("MYSQL_PWD", "PRIVATE_KEY", "AWS_ACCESS_KEY_ID", "GITHUB_PAT", "DATABASE_URL")
_START_S = 120  # a start takes 6 s on an idle machine


def next_line(server: Server, words: str) -> str:
    """The next line that `memeguard serve` prints with ``words`` in it."""
    for line in server.process.stdout:
        if words in line:
            return str(line)
    pytest.fail(f"`memeguard serve` ended without a word of {words!r}")


def find(server: Server, words: str) -> list[psutil.Process]:
    """Its processes whose command line has ``words``, but for the guards."""
    family = server.process.children(recursive=True)
    lines = [(process, " ".join(process.cmdline())) for process in family]
    return [process for process, line in lines if words in line and "guard.py" not in line]


@pytest.mark.timeout(_START_S * 6)
def test_all_that_dies_is_started_again_and_a_kill_leaves_nothing(
    store: Path, tmp_path: Path, short_tmp: Path, good_image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One server lives through it all, since each start takes seconds."""
    for name in (*SECRETS, "PASSED_ON"):
        monkeypatch.setenv(name, "a value of its own")
    command = [MEMEGUARD, "serve", f"--model-store={store}", "--patience=10", "--pass-env=PASSED_ON"]
    command.append("--allow-origin=https://example.org")
    with serving(command, tmp_path / "run", short_tmp) as server:
        family = server.process.children(recursive=True)
        assert len(find(server, "gunicorn")) >= 2
        [worker] = find(server, "model_service_worker")
        for process in family:
            environment = process.environ()
            assert not set(SECRETS) & environment.keys()
            assert environment["PASSED_ON"] == "a value of its own"

        [java] = find(server, "org.pytorch.serve.ModelServer")
        java.kill()
        assert next_line(server, "TorchServe was killed by SIGKILL; starting it again in 0.5 s")
        next_line(server, "TorchServe is ready again")
        assert not worker.is_running()
        assert server.predict(good_image, "after Java").status_code == 200

        find(server, "gunicorn")[0].kill()
        assert next_line(server, "the proxy was killed by SIGKILL; starting it again in 0.5 s")
        next_line(server, "the proxy is ready again")
        assert server.predict(good_image, "after gunicorn").status_code == 200

        (tmp_path / "run").rename(tmp_path / "moved")  # somebody tidied up
        [models] = short_tmp.glob("memeguard-*/models")
        shutil.rmtree(models)
        next_line(server, "of version 0.1.0 is gone from the temporary folder")
        next_line(server, "TorchServe is ready again")
        [worker] = find(server, "model_service_worker")
        worker.kill()  # which found nothing to load before
        wait_for_answer(server, good_image)
        origin = {"Origin": "https://example.org"}
        answer = server.predict(good_image, "from a page", headers=origin)
        assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"]

        [java] = find(server, "org.pytorch.serve.ModelServer")
        java.suspend()
        next_line(server, "TorchServe has not answered for 10 s; starting it again in ")
        next_line(server, "TorchServe is ready again")
        assert server.predict(good_image, "after a stop").status_code == 200

        family = server.process.children(recursive=True)
        server.process.kill()
        assert psutil.wait_procs(family, timeout=20)[1] == []
        assert list(short_tmp.iterdir()) == []
        assert "a value of its own" not in "".join(path.read_text() for path in (tmp_path / "run").glob("*.log"))


def wait_for_answer(server: Server, image: bytes) -> None:
    deadline = time.monotonic() + _START_S
    while server.predict(image, "again").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.timeout(_START_S * 3)
def test_what_a_killed_server_could_not_end_is_ended_by_the_next_one(
    store: Path, tmp_path: Path, short_tmp: Path
) -> None:
    """The guards are stopped, and so cannot see that their server is gone."""
    command = [MEMEGUARD, "serve", f"--model-store={store}"]
    with serving(command, tmp_path / "run", short_tmp) as server:
        family = server.process.children(recursive=True)
        for process in family:
            process.suspend()
        server.process.kill()
        server.process.wait()
        assert all(process.is_running() for process in family)
    ports = [f"--{name}={port}" for name, port in zip(PORT_OPTIONS, free_ports(len(PORT_OPTIONS)), strict=True)]
    ports[0] = f"--port={server.ports['port']}"  # which gunicorn still holds
    ports[1] = f"--inference-port={ports[0].partition('=')[2]}"  # so that it only gets this far
    done = run_memeguard(
        *("serve", f"--model-store={store}", f"--run-dir={tmp_path / 'run'}", *ports),
        env={**os.environ, "TMPDIR": str(short_tmp)},
    )
    assert f"an earlier run in {tmp_path / 'run'} left pid {family[0].pid}, " in done.stdout
    assert f"port {server.ports['port']} is given twice" in done.stderr
    assert psutil.wait_procs(family, timeout=20)[1] == []
    assert not any(short_tmp.iterdir())


def test_an_archive_that_is_not_its_cards_is_not_served(store: Path, tmp_path: Path) -> None:
    rewritten(store / "meme-0.1.0.mar", tmp_path / "meme-0.1.0.mar", "meme_handler.py", b"evil = True")
    card = json.loads((tmp_path / "meme-0.1.0.json").read_text())
    shutil.copy(store / "meme-0.1.0.json", tmp_path)
    original = json.loads((store / "meme-0.1.0.json").read_text())
    for command in ("serve", "torchserve"):
        done = run_memeguard(command, f"--model-store={tmp_path}", f"--run-dir={tmp_path / 'run'}")
        assert done.returncode == 1
        assert f"its sha256 is {card['sha256']}, meme-0.1.0.json says {original['sha256']}" in done.stderr


def test_torchserve_alone_gets_no_secrets_and_cleans_up_after_the_last_one(
    store: Path, tmp_path: Path, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container: Java takes the place of the command."""
    monkeypatch.setenv("MYSQL_PWD", "a value of its own")
    monkeypatch.setenv("TMPDIR", str(short_tmp))
    ports = zip(PORT_OPTIONS[1:], free_ports(len(PORT_OPTIONS) - 1), strict=True)
    command = [MEMEGUARD, "torchserve", f"--model-store={store}", f"--run-dir={tmp_path / 'run'}"]
    command += [f"--{name}={port}" for name, port in ports]
    left = []
    for _ in range(2):
        java = psutil.Popen(command)
        deadline = time.monotonic() + _START_S
        while not any("model_service_worker" in " ".join(child.cmdline()) for child in java.children()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        [worker] = [child for child in java.children() if "model_service_worker" in " ".join(child.cmdline())]
        assert "MYSQL_PWD" not in worker.environ()
        assert "MYSQL_PWD" not in java.environ()
        left.append(list(short_tmp.glob("memeguard-*")))
        java.send_signal(signal.SIGKILL)
        java.wait()
        psutil.wait_procs([worker], timeout=20)
    assert [len(folders) for folders in left] == [1, 1]
    assert left[0] != left[1]

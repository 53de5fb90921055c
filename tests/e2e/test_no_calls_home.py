"""No command talks to a host that the user did not name, nor writes where the user did not say.

strace sees every process that a command starts, in any language: Python, Java, Rust or C++.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import requests

from benchmarks.ports import PORT_OPTIONS, free_ports
from tests.e2e.conftest import MEMEGUARD, REPOSITORY, serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace, of the package of that name"),
    pytest.mark.timeout(600),  # three archives are made; on a busy machine that takes minutes
]

# All commands in one process, which need not import torch for each.
ALL_COMMANDS = """
import sys
from cli.main import main

def run(*words):
    main(args=[str(word) for word in words], standalone_mode=False)

data, small, images = sys.argv[1:]
run("demo-data", data)
run("check-data", small)
run("train", "--data", small, "--backbone", "compact", "--epochs", "1", "--out", "bundle")
run("ablate", "--data", small, "--epochs", "1")
run("sweep", "--data", small, "--out", "sweep", "--space", "space.toml", "--epochs", "1")
run("evaluate", "bundle", "--data", small, "--split", "test")
run("evaluate", "bundle", "--functional", "builtin")
run("archive", "demo", "--version", "0.0.1", "--data", small, "--model-store", "store")
run("demo", "--data", small, "--out", "demo", "--model-store", "store")
run("score", images, "--model", "store/meme-0.0.1.mar", "--out", "verdicts.csv")
run("starter", "--model-store", "starter_store")
"""
SPACE = 'optimizer = ["adamw"]\nbatch_size = [16]\nseeds = [0]\n'
_ADDRESS = re.compile(r'inet_(?:addr|pton)\((?:AF_INET6, )?"([^"]+)"')
_PORT = re.compile(r"htons\((\d+)\)")
_DNS_PORT = 53


def strace(trace: Path, home: Path, command: list[str]) -> list[str]:
    """The command that runs ``command`` with its network calls noted in ``trace``, and ``home`` as its home."""
    calls = "trace=connect,sendto,sendmsg,sendmmsg"
    # -D: a signal reaches the command itself, not strace in its place.
    watch = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "--signal=none", "-s", "200", "-e", calls, "-o", str(trace)]
    return ["env", "-u", "XDG_CACHE_HOME", "-u", "MPLCONFIGDIR", f"HOME={home}", *watch, *command]


def foreign_calls(trace: Path) -> list[str]:
    """Calls to another machine, and questions to a name server on this one."""
    return [line for line in trace.read_text("utf-8", errors="replace").splitlines() if is_foreign(line)]


def is_foreign(line: str) -> bool:
    """Whether one line of strace's names an address off this machine, or a name server's port."""
    local = re.compile(r"127\.|::1$|::ffff:127\.|0\.0\.0\.0$|::$")
    addresses, ports = _ADDRESS.findall(line), map(int, _PORT.findall(line))
    return any(not local.match(address) for address in addresses) or _DNS_PORT in ports


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, demo_folder: Path, bundle_folder: Path) -> Path:
    """A folder in which every command but the servers has run under strace, with a home of its own."""
    folder = tmp_path_factory.mktemp("watched")
    home, temporary = folder / "home", folder / "tmp"
    for each in (home, temporary):
        each.mkdir()
    shutil.copytree(bundle_folder, folder / "demo")  # a demo that is trained already
    (folder / "space.toml").write_text(SPACE, "utf-8")
    images = demo_folder / "Labelled Images"
    command = [sys.executable, "-c", ALL_COMMANDS, "data", str(demo_folder), str(images)]
    done = subprocess.run(
        strace(folder / "trace", home, ["env", f"TMPDIR={temporary}", *command]),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_the_watch_knows_a_foreign_call(tmp_path: Path) -> None:
    """A packet to a network that is reserved for documentation, and one to a name server on this machine."""
    code = """
import socket
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.sendto(b"", ("192.0.2.1", 9))
sender.sendto(b"", ("127.0.0.53", 53))
sender.connect(("127.0.0.1", 9))
"""
    subprocess.run(strace(tmp_path / "trace", tmp_path, [sys.executable, "-c", code]), check=False)
    assert len(foreign_calls(tmp_path / "trace")) == 2


def test_no_command_calls_another_machine(work: Path) -> None:
    assert not foreign_calls(work / "trace")


def test_commands_write_where_they_are_told_and_into_the_cache(work: Path) -> None:
    assert {name for name in files_below(work / "home") if not name.startswith(".cache/memeguard/")} == set()
    assert files_below(work / "tmp") == set()
    expected = {"home", "tmp", "trace", "space.toml", "data", "bundle", "sweep", "reports", "demo", "store"}
    written = {path.name for path in work.iterdir()}
    assert written - expected <= {"verdicts.csv", "verdicts.csv.json", "starter_store"}


def test_a_server_calls_no_other_machine(work: Path, short_tmp: Path, good_image: bytes, tmp_path: Path) -> None:
    command = strace(tmp_path / "trace", tmp_path / "home", [MEMEGUARD, "serve", "--model-store", str(work / "store")])
    with serving(command, tmp_path / "run", short_tmp) as server:
        assert server.predict(good_image, "who?").status_code == 200
        server.stop()
    assert not foreign_calls(tmp_path / "trace")
    assert not (tmp_path / "home").exists() or not files_below(tmp_path / "home")


def test_torchserve_alone_calls_no_other_machine(work: Path, short_tmp: Path, tmp_path: Path) -> None:
    ports = dict(zip(PORT_OPTIONS[1:], free_ports(len(PORT_OPTIONS) - 1), strict=True))
    options = [*(f"--{name}={port}" for name, port in ports.items()), f"--run-dir={tmp_path / 'run'}"]
    command = [MEMEGUARD, "torchserve", "--model-store", str(work / "store"), *options]
    watched = ["env", f"TMPDIR={short_tmp}", *strace(tmp_path / "trace", tmp_path / "home", command)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(watched, cwd=REPOSITORY, stdout=log, stderr=log)
    try:
        wait_for_workers(ports["management-port"], tmp_path)
    finally:
        server.terminate()
        server.wait(timeout=60)
    assert ".ts.sock" in (tmp_path / "trace").read_text("utf-8", errors="replace"), "only Java's start was watched"
    assert not foreign_calls(tmp_path / "trace")


def wait_for_workers(port: int, folder: Path) -> None:
    """Wait for the workers of the TorchServe whose log, and run-dir with its tokens, are in ``folder``."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException, FileNotFoundError, ValueError, TypeError):
            key = json.loads((folder / "run" / "key_file.json").read_text("utf-8"))["management"]["key"]
            url, headers = f"http://127.0.0.1:{port}/models/meme/all", {"Authorization": f"Bearer {key}"}
            versions = requests.get(url, headers=headers, timeout=5).json()
            states = [worker["status"] for version in versions for worker in version["workers"]]
            if states and set(states) == {"READY"}:
                return
        time.sleep(0.2)
    pytest.fail((folder / "log").read_text("utf-8")[-3000:])

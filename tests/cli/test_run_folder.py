"""One server at a time uses a run folder, and processes left by a killed server are ended if they carry its mark."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from cli.errors import ServeError
from cli.ports import Ports
from cli.run_folder import MARK, occupy

if TYPE_CHECKING:
    from collections.abc import Iterator

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(1000)"]


@pytest.fixture
def left_over() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Programs with the mark of a run, and with another's."""
    programs = {
        mark: subprocess.Popen(SLEEP, env={MARK: mark}, start_new_session=True) for mark in ("a" * 32, "b" * 32)
    }
    for program in programs.values():  # until exec the environment is this process's own
        while psutil.Process(program.pid).cmdline() != SLEEP:
            pass
    yield programs
    for program in programs.values():
        program.kill()
        program.wait()


def test_what_an_earlier_run_left_is_named_and_ended_and_nothing_else(
    tmp_path: Path, left_over: dict[str, subprocess.Popen[bytes]]
) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"mark": "a" * 32, "pid": 1}))
    lines: list[str] = []
    with occupy(tmp_path, lines.append) as mark:
        assert re.fullmatch("[0-9a-f]{32}", mark)
        assert json.loads((tmp_path / "run.json").read_text())["mark"] == mark
    [line] = lines
    assert line.startswith(f"an earlier run in {tmp_path} left pid {left_over['a' * 32].pid}, {sys.executable}")
    assert left_over["a" * 32].wait(timeout=20) is not None
    assert left_over["b" * 32].poll() is None
    assert not (tmp_path / "run.json").exists()


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"mark": ""}', '{"mark": null}', "\0"])
def test_a_record_that_says_nothing_ends_nothing(tmp_path: Path, record: str) -> None:
    (tmp_path / "run.json").write_text(record)
    lines: list[str] = []
    with occupy(tmp_path, lines.append):
        assert lines == []


def test_after_an_error_the_record_stays(tmp_path: Path) -> None:
    with pytest.raises(ServeError), occupy(tmp_path, print):
        raise ServeError
    assert (tmp_path / "run.json").exists()


def test_folder_and_lock_are_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    (folder / "lock").touch(mode=0o666)
    with occupy(folder, print):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.name: path.stat().st_mode & 0o077 for path in folder.glob("lock")} == {"lock": 0}


def test_a_folder_in_use_is_refused_with_the_pid(tmp_path: Path) -> None:
    message = rf"another server, pid {os.getpid()}, runs in"
    with occupy(tmp_path, print), pytest.raises(ServeError, match=message), occupy(tmp_path, print):
        pass


def test_a_lock_held_by_something_else_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ServeError, match=r"another server runs in .* --run-dir"), occupy(tmp_path, print):
            pass


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_a_lock_that_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "lock"
    {"link": lambda: path.symlink_to("/etc/passwd"), "fifo": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
    with pytest.raises(ServeError, match=r"lock .*remove it"), occupy(tmp_path, print):
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="needs two users")
def test_a_folder_of_another_user_is_refused() -> None:
    script = (
        "import os, sys; from pathlib import Path; from cli.run_folder import make_private; os.setuid(65534)\n"
        "try: make_private(Path(sys.argv[1]))\n"
        "except Exception as error: print(error)"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is below one that nobody else may enter
        Path(folder).chmod(0o777)
        done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True)
    assert re.search(r"run folder .* belongs to user 0, .* choose one of user 65534 with --run-dir", done.stdout)


def test_a_taken_port_is_refused_with_who_holds_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        message = rf"port {port} on 127\.0\.0\.1 is taken by pid {os.getpid()}, .*; free it .* --metrics-port"
        with pytest.raises(ServeError, match=message):
            Ports(metrics=port, proxy=0, inference=1, management=2, grpc_inference=3, grpc_management=4).require_free(
                "127.0.0.1"
            )

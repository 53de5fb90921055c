"""Families of real processes: found, paused, resumed, measured, and ended however they try to get away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.serving.memory import PeakMemory
from benchmarks.serving.processes import Family

REPOSITORY = Path(__file__).parents[3]
# A child in a session of its own whose parent ends.
_ORPHAN = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
middle = f"import subprocess; subprocess.Popen({sleep!r}, start_new_session=True)"
subprocess.run([sys.executable, "-c", middle], start_new_session=True)
print("ready", flush=True)
time.sleep(60)
"""
# Starts a family, pauses it, prints the number of its process, and waits for a signal.
_STARTER = """
import os, pathlib, sys, tempfile, time
from benchmarks.serving.processes import Family, exit_on_interrupt
exit_on_interrupt()
folder = pathlib.Path(sys.argv[1])
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
with tempfile.TemporaryDirectory(dir=folder), Family(sleep, log=folder / "log", cwd=folder, env=os.environ) as family:
    while not family.members():
        time.sleep(0.02)
    family.pause()
    print(family.members()[0].pid, flush=True)
    time.sleep(60)
"""
_BUSY = "print('ready', flush=True)\nblock = bytearray(80 * 2**20)\nwhile True: pass"


def start(script: str, folder: Path) -> Family:
    log = folder / "log"
    family = Family([sys.executable, "-c", script], log=log, cwd=folder, env=dict(os.environ))
    deadline = time.monotonic() + 20
    while "ready" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return family


def test_an_orphan_in_a_session_of_its_own_is_ended_too(tmp_path: Path) -> None:
    with start(_ORPHAN, tmp_path) as family:
        members = family.members()
        assert len(members) == 2
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in members)


def test_a_paused_family_uses_no_processor_and_goes_on_when_resumed(tmp_path: Path) -> None:
    with start(_BUSY, tmp_path) as family:
        family.pause()
        time.sleep(0.1)
        before = family.cpu_seconds()
        time.sleep(0.4)
        assert family.cpu_seconds() == before
        family.resume()
        time.sleep(0.4)
        assert family.cpu_seconds() > before
        family.pause()  # one that sleeps is ended too
    assert family.exit_status is not None


def test_peak_memory_is_that_of_all_and_of_the_largest(tmp_path: Path) -> None:
    with start(_BUSY, tmp_path) as family:
        time.sleep(0.3)
        memory = PeakMemory(family, interval_s=0.05)
        with memory.sampling():
            time.sleep(0.2)
    assert 80 * 2**20 < memory.largest == memory.total < 200 * 2**20


def test_an_error_ends_the_family(tmp_path: Path) -> None:
    family = start(_BUSY, tmp_path)
    with pytest.raises(RuntimeError), family:
        raise RuntimeError
    assert family.members() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_family_ends_with_the_process_that_started_it(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _STARTER, str(tmp_path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        member = psutil.Process(int(starter.stdout.readline()))
        starter.send_signal(number)
        starter.wait(timeout=30)
    assert psutil.wait_procs([member], timeout=20)[1] == []
    if number != signal.SIGKILL:  # the others let every `with` block end in order
        assert starter.returncode == 128 + number
        assert [path.name for path in tmp_path.iterdir()] == ["log"]

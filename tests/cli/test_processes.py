"""Programs end with the process that started them, however either ends. Small real programs stand for the servers."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from cli.processes import Process

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]
SLEEP = "import time; time.sleep(1000)"
# A program that starts another one in a session of its own, says so, and waits.
FAMILY = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", {SLEEP!r}], start_new_session=True)
print("started", child.pid, flush=True)
time.sleep(1000)
"""


def start(tmp_path: Path, script: str, **options: object) -> Process:
    defaults = {"log": tmp_path / "log", "cwd": tmp_path, "env": {"PATH": os.environ["PATH"]}}
    return Process("a program", [sys.executable, "-S", "-c", script], **{**defaults, **options})  # type: ignore[arg-type]


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def family_of(process: Process) -> list[psutil.Process]:
    """The guard, the program and its child, once all three run."""
    guard = psutil.Process(process._popen.pid)
    wait_until(lambda: len(guard.children(recursive=True)) == 2)
    return [guard, *guard.children(recursive=True)]


def assert_gone(family: list[psutil.Process]) -> None:
    wait_until(lambda: not any(map(is_alive, family)))


def is_alive(process: psutil.Process) -> bool:
    """A zombie is not: it may be this process's own child, whose status is for ``Process`` to collect."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_stopping_ends_children_in_other_sessions_too(tmp_path: Path) -> None:
    process = start(tmp_path, FAMILY)
    family = family_of(process)
    process.stop()
    assert_gone(family)
    assert process.describe_end() == "was killed by SIGTERM"


def test_a_program_that_dies_takes_its_children_along(tmp_path: Path) -> None:
    with start(tmp_path, FAMILY) as process:
        family = family_of(process)
        family[1].kill()
        assert_gone(family)
        assert process.has_ended
        assert process.was_killed
        assert process.describe_end() == "was killed by SIGKILL"


def test_a_guard_that_is_killed_takes_the_program_along(tmp_path: Path) -> None:
    with start(tmp_path, FAMILY) as process:
        family = family_of(process)
        family[0].kill()
        assert_gone(family[:2])
        process.stop()
        assert process.describe_end() == "was killed by SIGKILL"
    for orphan in family[2:]:  # it had left the session; `memeguard serve` finds such a one by its mark
        orphan.kill()


def test_a_starter_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """Neither processes nor the temporary folder."""
    (tmp_path / "removed").mkdir()
    (tmp_path / "removed" / "file").touch()
    script = f"""
        import sys, time
        from pathlib import Path
        from cli.processes import Process
        folder = Path({str(tmp_path)!r})
        Process("a program", [sys.executable, "-S", "-c", {FAMILY!r}], log=folder / "log", cwd=folder, env={{}},
                removes=folder / "removed")
        time.sleep(1000)
    """
    starter = psutil.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=REPOSITORY)
    wait_until(lambda: len(starter.children(recursive=True)) == 3)
    family = starter.children(recursive=True)
    starter.kill()
    starter.wait()
    assert_gone(family)
    assert not (tmp_path / "removed").exists()


def test_a_program_that_ends_by_itself(tmp_path: Path) -> None:
    (tmp_path / "removed").mkdir()
    script = "import sys; print('the reason'); print('\\tat a.Java.stack'); sys.exit(3)"
    with start(tmp_path, script, removes=tmp_path / "removed") as process:
        wait_until(lambda: process.has_ended)
        assert process.describe_end() == "ended with status 3"
        assert not process.was_killed
        assert process.last_line() == "the reason"
    assert not (tmp_path / "removed").exists()


def test_a_program_that_ignores_signals_is_killed(tmp_path: Path) -> None:
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ignoring', flush=True); time.sleep(1000)"
    process = start(tmp_path, script)
    wait_until(lambda: "ignoring" in process._log.recent())
    process.stop(grace_s=0.1)
    assert process.has_ended
    assert psutil.pid_exists(process._popen.pid) is False


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with Process("none", ["/no/such/program"], log=tmp_path / "log", cwd=tmp_path, env={}) as process:
        wait_until(lambda: process.has_ended)
        assert process.describe_end() == "ended with status 127"
        assert "/no/such/program cannot be started: No such file" in process.last_line()


def test_the_last_line_of_a_java_stack_is_its_innermost_cause(tmp_path: Path) -> None:
    stack = ["IOException: no keys", "\tat a.A.b(A.java:1)", "Caused by: No space left on device", "\t... 1 more"]
    with start(tmp_path, f"print({chr(10).join(stack)!r})") as process:
        wait_until(lambda: process.has_ended)
        assert process.last_line() == "Caused by: No space left on device"


def test_an_alarm_is_the_first_line_with_one_of_the_words(tmp_path: Path) -> None:
    script = "print('all well'); print('cannot load x'); print('cannot load y')"
    with start(tmp_path, script, alarms=["cannot load"]) as process:
        wait_until(lambda: process.has_ended and process.alarm is not None)
        assert process.alarm == "cannot load x"


def test_ctrl_c_does_not_reach_the_program(tmp_path: Path) -> None:
    with start(tmp_path, SLEEP) as process:
        assert os.getsid(process._popen.pid) != os.getsid(0)

"""A server that dies is started again, with longer delays, until the supervisor gives up; small real programs."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from cli.errors import ServeError
from cli.processes import Process
from cli.supervisor import Limits, Supervised
from cli.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SLEEP = "import time; print('up', flush=True); time.sleep(1000)"
DIE = "import os; os.kill(os.getpid(), 9)"
FAIL = "import sys; print('no such model'); sys.exit(3)"
QUICK = Limits(first_delay_s=0.01, longest_delay_s=0.04, num_failed_starts=4, stop_grace_s=0.1, start_timeout_s=10)


class Trial:
    """A supervised program whose script may change from start to start."""

    def __init__(self, folder: Path, *scripts: str, limits: Limits = QUICK) -> None:
        self.lines: list[str] = []
        self.num_starts = 0
        self._folder, self._scripts = folder, scripts
        self.server = Supervised("the server", self._start, self._is_ready, self.lines.append, limits)

    def _start(self) -> Process:
        script = self._scripts[min(self.num_starts, len(self._scripts) - 1)]
        self.num_starts += 1
        if script == "full":
            raise OSError(28, "No space left on device")
        command = [sys.executable, "-I", "-S", "-c", script]
        return Process("the server", command, log=self._folder / "log", cwd=self._folder, env={})

    def _is_ready(self, process: Process) -> bool:
        return "up" in process._log.recent()

    def step_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, self.lines
            self.server.step()
            time.sleep(0.005)

    def kill(self) -> None:
        assert self.server.process is not None
        os.kill(self.server.process._popen.pid, 9)
        self.step_until(lambda: not self.server.is_ready)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Callable[..., Trial]]:
    trials: list[Trial] = []

    def make(*scripts: str, limits: Limits = QUICK) -> Trial:
        trials.append(Trial(tmp_path, *scripts, limits=limits))
        return trials[-1]

    yield make
    for each in trials:
        each.server.stop()


def test_a_server_that_is_killed_is_started_again_more_slowly_each_time(trial: Callable[..., Trial]) -> None:
    one = trial(SLEEP)
    one.step_until(lambda: one.server.is_ready)
    assert one.lines == []
    for _ in range(4):
        one.kill()
        one.step_until(lambda: one.server.is_ready)
    told = [f"the server was killed by SIGKILL; starting it again in {delay} s" for delay in (0.01, 0.02, 0.04, 0.04)]
    assert one.lines[::2] == told
    assert len(one.lines) == 8
    assert all(line.startswith("the server is ready again after ") for line in one.lines[1::2])


def test_a_server_that_was_ready_for_long_is_started_again_soon(trial: Callable[..., Trial]) -> None:
    one = trial(SLEEP, limits=Limits(first_delay_s=0.01, stable_s=0.0))
    for _ in range(3):
        one.step_until(lambda: one.server.is_ready)
        time.sleep(0.01)
        one.kill()
    assert {line for line in one.lines if "starting" in line} == {
        "the server was killed by SIGKILL; starting it again in 0.01 s"
    }


def test_a_first_start_that_fails_is_an_error_at_once_with_what_was_printed(trial: Callable[..., Trial]) -> None:
    one = trial(FAIL)
    with pytest.raises(ServeError, match=r"^the server ended with status 3: no such model \(see .*log\)$"):
        one.step_until(lambda: False)
    assert one.num_starts == 1


def test_a_first_start_that_is_killed_is_tried_again(trial: Callable[..., Trial]) -> None:
    one = trial(DIE, SLEEP)
    one.step_until(lambda: one.server.is_ready)
    assert one.num_starts == 2


@pytest.mark.parametrize(("script", "reason"), [(FAIL, "ended with status 3: no such model"), ("full", "No space")])
def test_what_cannot_be_started_again_is_given_up(trial: Callable[..., Trial], script: str, reason: str) -> None:
    one = trial(SLEEP, script)
    one.step_until(lambda: one.server.is_ready)
    one.kill()
    with pytest.raises(
        ServeError, match=f"the server could not be started 4 times in a row; the last time: .*{reason}"
    ):
        one.step_until(lambda: False)
    assert one.num_starts == 1 + 4


def test_failed_starts_count_only_in_a_row(trial: Callable[..., Trial]) -> None:
    one = trial(SLEEP, *([DIE] * 3), SLEEP, *([DIE] * 3), SLEEP)
    for _ in range(2):
        one.step_until(lambda: one.server.is_ready)
        one.kill()
    one.step_until(lambda: one.server.is_ready)
    assert one.num_starts == 9


def test_a_start_that_takes_too_long_is_broken_off(trial: Callable[..., Trial]) -> None:
    one = trial(SLEEP, "import time; time.sleep(1000)")
    one.step_until(lambda: one.server.is_ready)
    one.server._limits = Limits(first_delay_s=0.01, num_failed_starts=2, stop_grace_s=0.1, start_timeout_s=0.2)
    one.kill()
    with pytest.raises(ServeError, match=r"2 times in a row; the last time: the server was not ready after \d+ s: see"):
        one.step_until(lambda: False)


def test_a_server_of_no_use_is_started_again(trial: Callable[..., Trial]) -> None:
    one = trial(SLEEP)
    one.step_until(lambda: one.server.is_ready)
    one.server.restart("the server has not answered for 60 s")
    assert one.lines == ["the server has not answered for 60 s; starting it again in 0.01 s"]
    one.step_until(lambda: one.server.is_ready)


def test_a_watch_knows_since_when_somebody_does_not_answer() -> None:
    faults = iter(["the proxy", None, *["TorchServe"] * 1000])
    watch = Watch(lambda: next(faults), interval_s=0.01)
    deadline = time.monotonic() + 20
    while watch.failing_s("TorchServe") < 0.1:
        assert watch.failing_s("the proxy") < 0.1
        assert time.monotonic() < deadline
        time.sleep(0.005)
    watch.close()  # at most one more question is out, and one fault is none yet
    watch.reset()
    assert watch.failing_s("TorchServe") == 0.0

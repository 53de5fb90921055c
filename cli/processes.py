"""Start programs, watch them, and end them with everything they started, even if this process is killed.

Does not know what the programs are. Each runs under a guard (``guard.py``), one small process of its own: a parent's
death signal alone would not reach Java's workers and gunicorn's, a process group alone would outlive a ``kill -9``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cli.logs import Log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

_GRACE_S = 40.0  # how long a program may take to end by itself: the longest prediction takes 30
_GUARD = Path(__file__).with_name("guard.py")
_LARGEST_STATUS = 128  # a shell's way: beyond it is the number of the signal that ended a program


class Process:
    """A program in a session of its own, so that Ctrl-C reaches its starter alone and its children end with it.

    Args:
        name: For messages.
        command: The program and its arguments.
        log: Takes what it prints.
        cwd: Its working directory.
        env: Its environment.
        removes: A folder that is removed when it has ended.
        alarms: Words in its output that ``alarm`` reports.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        cwd: Path,
        env: Mapping[str, str],
        removes: Path | None = None,
        alarms: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._removes = removes
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), str(removes or ""), *command],
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,  # never written to: the guard sees it close when this process is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._popen.stdout is not None  # noqa: S101 - for mypy
        self._log = Log(log, self._popen.stdout, alarms=alarms)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def has_ended(self) -> bool:
        """Whether the program is over."""
        return self._popen.poll() is not None

    @property
    def alarm(self) -> str | None:
        """The first line it printed with one of the words in it."""
        return self._log.alarm

    @property
    def log(self) -> Path:
        """Where its output is."""
        return self._log.path

    def describe_end(self) -> str:
        """How it ended, such as "was killed by SIGKILL"."""
        status = self._popen.wait()
        number = -status if status < 0 else status - _LARGEST_STATUS  # below zero: the guard itself was killed
        if number > 0:
            with contextlib.suppress(ValueError):
                return f"was killed by {signal.Signals(number).name}"
        return f"ended with status {status}"

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it."""
        status = self._popen.poll()
        return status is not None and (status < 0 or status > _LARGEST_STATUS)

    def last_line(self) -> str:
        """The last thing it printed, without the frames of a Java stack: the innermost cause, if it ended by one."""
        self._log.close()
        frames = ("\tat ", "\t... ")  # "\t... 1 more" stands for frames that were printed before
        lines = [line for line in self._log.recent() if line.strip() and not line.startswith(frames)]
        return lines[-1] if lines else "it printed nothing"

    def stop(self, grace_s: float = _GRACE_S) -> None:
        """Ask it to end, and after ``grace_s`` seconds make it; then end whatever is left of its session."""
        if self._popen.poll() is None:
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace_s)
        # The guard has ended the children, unless it was killed; the group's id is its own until the last is gone.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        if self._popen.stdin:
            self._popen.stdin.close()
        self._log.close()
        if self._removes:
            shutil.rmtree(self._removes, ignore_errors=True)

"""Start programs, watch them, and end them with everything they started, even if this process is killed.

Each program runs under a guard (``guard.py``), a small process: a parent's death signal would not reach the workers of
Java and gunicorn, and a process group would outlive a ``kill -9``.
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
_LARGEST_STATUS = 128  # as in a shell, a larger status is 128 plus the number of the signal that ended the program


def guarded(command: Sequence[str], removes: Path | None = None) -> list[str]:
    """Return the command line that runs ``command`` under a guard; start it with a pipe as stdin and in a new session.

    Args:
        command: A program and its arguments.
        removes: A folder that the guard removes after the program's end.
    """
    return [sys.executable, "-I", "-S", str(_GUARD), str(removes or ""), *command]


class Process:
    """A program in a session of its own, so that Ctrl-C does not reach it, and its children end with it.

    Args:
        name: The program's name in messages.
        command: The program and its arguments.
        log: File for the program's output.
        cwd: The program's working directory.
        env: The program's environment.
        removes: A folder that is removed after the program's end.
        alarms: Words in the output that ``alarm`` reports.
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
            guarded(command, removes),
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
        """Whether the program has ended."""
        return self._popen.poll() is not None

    @property
    def alarm(self) -> str | None:
        """The first line of output with one of the words; None if there is none."""
        return self._log.alarm

    @property
    def log(self) -> Path:
        """The file of the output."""
        return self._log.path

    def describe_end(self) -> str:
        """Wait for the end and describe it, as in "was killed by SIGKILL"."""
        status = self._popen.wait()
        number = -status if status < 0 else status - _LARGEST_STATUS  # below 0: the guard itself was killed
        if number > 0:
            with contextlib.suppress(ValueError):
                return f"was killed by {signal.Signals(number).name}"
        return f"ended with status {status}"

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended the program."""
        status = self._popen.poll()
        return status is not None and (status < 0 or status > _LARGEST_STATUS)

    def last_line(self) -> str:
        """Return the last line of output without the frames of a Java stack trace, which leaves its innermost cause."""
        self._log.close()
        frames = ("\tat ", "\t... ")  # "\t... 1 more" stands for frames that were printed before
        lines = [line for line in self._log.recent() if line.strip() and not line.startswith(frames)]
        return lines[-1] if lines else "it printed nothing"

    def stop(self, grace_s: float = _GRACE_S) -> None:
        """Ask the program to end, kill it after ``grace_s`` seconds, and kill the rest of its session."""
        if self._popen.poll() is None:
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace_s)
        # The guard has ended the children, unless it was killed. The group's id is not reused while a process is in it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        if self._popen.stdin:
            self._popen.stdin.close()
        self._log.close()
        if self._removes:
            shutil.rmtree(self._removes, ignore_errors=True)

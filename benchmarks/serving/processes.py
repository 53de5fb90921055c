"""Start a server with all its processes, stop and continue them, and end them together.

The server runs under ``cli.guard``, which becomes the parent of every orphan and kills them all when this process is
gone, even by ``kill -9``. So the processes of a server are the descendants of its guard.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import psutil

from cli.processes import guarded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

_GRACE_S: Final = 20.0
_SIGN_OF_LIFE_S: Final = 0.7
_GONE: Final = (psutil.NoSuchProcess, psutil.AccessDenied, OSError)
_INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Family:
    """A program and everything it starts; a context manager that ends them all.

    Args:
        command: The program and its arguments.
        log: Takes what it prints.
        cwd: Its working directory.
        env: Its environment.
        sleeps: Whether ``pause`` stops its processes; if not, they stay awake.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str], sleeps: bool = True
    ) -> None:
        self.log = log
        self._sleeps = sleeps
        with log.open("wb") as output:
            self._guard = psutil.Popen(
                guarded(command),
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.PIPE,  # never written to: the guard sees it close when this process is gone
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def exit_status(self) -> int | None:
        """Of the program, 128 and more for a signal; None while it runs."""
        status: int | None = self._guard.poll()
        return status

    def members(self) -> list[psutil.Process]:
        """List every process that is alive, parents before their children."""
        with contextlib.suppress(*_GONE):
            return [process for process in self._guard.children(recursive=True) if _is_alive(process)]
        return []

    def cpu_seconds(self) -> float:
        """Return the processor time of all of them so far, including children that have ended."""
        total = 0.0
        for process in (self._guard, *self.members()):  # orphans that have ended count as the guard's children
            with contextlib.suppress(*_GONE):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def pause(self) -> None:
        """Stop every process, parents first, so that none of them notices that its children are silent."""
        if self._sleeps:
            _signal(self.members(), signal.SIGSTOP)

    def resume(self) -> None:
        """Continue every process, those without children first.

        gunicorn's arbiter replaces a worker that showed no sign of life for 30 s. So the worker shows one before the
        arbiter looks.
        """
        if not self._sleeps:
            return
        members = self.members()
        parents = set()
        for process in members:
            with contextlib.suppress(*_GONE):
                parents.add(process.ppid())
        _signal([process for process in members if process.pid not in parents], signal.SIGCONT)
        time.sleep(_SIGN_OF_LIFE_S)
        _signal([process for process in reversed(members) if process.pid in parents], signal.SIGCONT)

    def stop(self) -> None:
        """Ask the program to end, kill what is left after a while, and wait until every process is gone."""
        _signal(self.members(), signal.SIGCONT)
        if self._guard.poll() is None:
            self._guard.terminate()  # which passes it on to the program
            with contextlib.suppress(psutil.TimeoutExpired):
                self._guard.wait(_GRACE_S)
        self._guard.stdin.close()  # which makes the guard kill them
        self._guard.wait()


def _signal(members: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in members:
        with contextlib.suppress(*_GONE):
            process.send_signal(number)


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(*_GONE):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def exit_on_interrupt() -> None:
    """Let Ctrl-C, SIGTERM and SIGHUP leave every ``with`` block in order and then end this process."""
    for number in _INTERRUPTS:
        signal.signal(number, _exit)


def _exit(number: int, _: object) -> None:
    for other in _INTERRUPTS:  # a second Ctrl-C does not interrupt the end of the servers
        signal.signal(other, signal.SIG_IGN)
    print("ending every server …", flush=True)
    sys.exit(128 + number)

"""Run a program that ends with the process that asked for it: ``guard.py REMOVE PROGRAM ARGUMENT…``.

The asking process holds the other end of standard input. When it closes, also by a ``kill -9``, the program and all
its descendants are killed, and the folder REMOVE ("" for none) is removed. SIGTERM is passed on to the program. If the
guard itself is killed, the kernel kills the program (PR_SET_PDEATHSIG, which depends on the parent's *thread*; the
guard has only one).

Started as ``python -I -S``, with the standard library alone, in 15 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # sys/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)


def main(remove: str, command: list[str]) -> int:
    """Run ``command`` until it or the asking process ends.

    Returns:
        The exit status of ``command``, or 128 plus the number of the signal that killed it.
    """
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphaned descendants become children of this process
    wakes, wake = os.pipe()
    for end in (wakes, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = _start(command)
    signal.signal(signal.SIGTERM, lambda *_: _signal(child, signal.SIGTERM))
    status = _wait(child, wakes)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN if number == signal.SIGTERM else signal.SIG_DFL)
    _kill_children()
    if remove:
        import shutil  # takes 10 ms, which would delay the program's start

        shutil.rmtree(remove, ignore_errors=True)
    return status


def _start(command: list[str]) -> int:
    guard = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:
            os._exit(1)  # the guard was killed before the line above
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and the program would inherit that
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.execvp(command[0], command)  # noqa: S606 - an argument list, no shell
    except OSError as error:
        os.write(2, f"{command[0]} cannot be started: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _wait(child: int, wakes: int) -> int:
    """Wait until the child ends or standard input closes, and reap orphans meanwhile."""
    watch = select.poll()
    watch.register(0, select.POLLIN)
    watch.register(wakes, select.POLLIN)
    while True:
        ready = dict(watch.poll())
        if wakes in ready:
            os.read(wakes, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if pid == 0:
                break
        if 0 in ready and not os.read(0, 4096):
            return 128 + signal.SIGKILL


def _kill_children() -> None:
    """Kill every descendant: when one dies, its children become children of this process."""
    while True:
        for pid in _children():
            _signal(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    own = os.getpid()
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal() and _parent(path) == own]


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0  # gone meanwhile


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    os._exit(main(sys.argv[1], sys.argv[2:]))

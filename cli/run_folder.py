"""The run folder: private to its owner, used by one server at a time, and cleared of what a killed server left running.

Every process of a run has the run's mark, 128 random bits, in its environment; ``run.json`` keeps it until the run
ends. A process with that mark certainly belongs to the run, even if pids have been reused since.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from cli.errors import ServeError
from cli.ports import describe_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MARK = "MEMEGUARD_RUN"  # the environment variable
_RECORD = "run.json"
_END_S = 20.0


@contextlib.contextmanager
def occupy(run_dir: Path, announce: Callable[[str], None]) -> Iterator[str]:
    """Lock ``run_dir`` for this process, and yield the mark for the environment of its processes.

    Args:
        run_dir: The folder. It is made if missing, and closed to other users.
        announce: Prints a line for each process of an earlier run that is ended.

    Raises:
        ServeError: The folder belongs to another user, or another server runs in it.
    """
    make_private(run_dir)
    with _locked(run_dir):
        _end_leftovers(run_dir, announce)
        mark = secrets.token_hex(16)
        record = run_dir / _RECORD
        record.unlink(missing_ok=True)
        record.write_text(json.dumps({"mark": mark, "pid": os.getpid()}) + "\n", encoding="utf-8")
        yield mark
        record.unlink(missing_ok=True)  # kept after an error, because a process may be left


def make_private(run_dir: Path) -> None:
    """Make ``run_dir`` and close it to other users, because it holds tokens, logs and the lock."""
    run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        run_dir.chmod(0o700)
    except PermissionError as error:
        owner = run_dir.stat().st_uid
        raise ServeError(
            f"run folder {run_dir} belongs to user {owner}, who could read tokens there and keep the server from "
            f"starting; choose one of user {os.getuid()} with --run-dir"
        ) from error


@contextlib.contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    path = run_dir / "lock"
    lock = FileLock(path, mode=0o600, blocking=False, on_acquired=_write_pid)
    try:
        lock.acquire()
    except Timeout as error:
        holder = path.read_text(encoding="ascii", errors="replace")[:20]
        who = f"another server, pid {holder}," if holder.isdecimal() else "another server"
        raise ServeError(f"{who} runs in {run_dir}; choose another folder with --run-dir") from error
    except OSError as error:
        raise ServeError(f"{path} cannot be used as a lock: {error.strerror}; remove it") from error
    try:
        yield
    finally:
        lock.release()


def _write_pid(lock: int) -> None:
    """Say in the lock file who holds it; raise ``OSError`` if it is not a regular file."""
    os.ftruncate(lock, 0)
    os.fchmod(lock, 0o600)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


def _end_leftovers(run_dir: Path, announce: Callable[[str], None]) -> None:
    """Kill the processes with the mark of the last run. This process holds the lock, so that run's server is dead."""
    try:
        mark = json.loads((run_dir / _RECORD).read_bytes())["mark"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if not isinstance(mark, str) or not mark:
        return
    import psutil

    killed = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                announce(f"an earlier run in {run_dir} left {describe_process(process)}; ending it")
                process.kill()
                killed.append(process)
    _, alive = psutil.wait_procs(killed, timeout=_END_S)
    if alive:
        raise ServeError(f"pid {alive[0].pid}, left by an earlier run in {run_dir}, does not end")

"""Locks on files that end with the process that holds them, however it ends. Do not know what they guard.

flock(2) is the kernel's: after SIGKILL, or a power cut, nothing has to be cleared away or waited for.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from typing import TYPE_CHECKING, BinaryIO

from optuna.storages.journal import JournalFileOpenLock

if TYPE_CHECKING:
    from pathlib import Path


class Presence:
    """A file of this process's own in ``folder``, locked as long as the process lives."""

    def __init__(self, folder: Path) -> None:
        self.name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._path = folder / self.name
        self._file = self._path.open("xb")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def end(self) -> None:
        """Be present no more."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def is_present(folder: Path, name: str) -> bool:
    """Whether the process that made the ``Presence`` called ``name`` lives; the file of a dead one is removed."""
    path = folder / name
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    path.unlink(missing_ok=True)
    return False


class JournalLock(JournalFileOpenLock):
    """For Optuna's journal. Its own locks outlive a killed process by 30 s, and half a line of it for ever."""

    def __init__(self, journal: Path, lock: Path) -> None:
        super().__init__(str(journal))
        self._journal, self._path = journal, lock
        self._file: BinaryIO | None = None

    def acquire(self) -> bool:
        """Wait for the lock; then cut off the line at whose writing a process died, if there is one."""
        self._file = self._path.open("ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        with self._journal.open("r+b") as journal:
            content_end = journal.seek(0, os.SEEK_END)
            if content_end and not _ends_line(journal, content_end):
                journal.seek(0)
                journal.truncate(journal.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Let others write."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _ends_line(file: BinaryIO, end: int) -> bool:
    file.seek(end - 1)
    return file.read(1) == b"\n"

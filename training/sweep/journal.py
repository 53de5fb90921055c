"""Optuna's journal with a lock that the kernel releases when its process dies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

if TYPE_CHECKING:
    from pathlib import Path

    from filelock import BaseFileLock


def open_journal(path: Path, lock: BaseFileLock) -> JournalStorage:
    """Open the journal at ``path``, or create it; every write holds ``lock``."""
    return JournalStorage(JournalFileBackend(str(path), lock_obj=_KernelLock(path, lock)))


class _KernelLock(JournalFileOpenLock):
    """Adapts a ``FileLock`` to Optuna.

    Optuna's own lock is a file that stays behind when its process is killed, and that others then wait 30 s for.
    """

    def __init__(self, journal: Path, lock: BaseFileLock) -> None:
        super().__init__(str(journal))
        self._journal, self._lock = journal, lock

    def acquire(self) -> bool:
        self._lock.acquire()
        _cut_torn_line(self._journal)
        return True

    def release(self) -> None:
        self._lock.release()


def _cut_torn_line(journal: Path) -> None:
    """Remove half a line, which a full disk leaves at the end; Optuna would append to it and never read on."""
    with journal.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return
        file.seek(size - 1)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)

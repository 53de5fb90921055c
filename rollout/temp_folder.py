"""TorchServe's temporary folders: one for each launch, locked while it is in use, removed when nobody uses it.

TorchServe unpacks archives there, 48 MB for the starter, and leaves them when it is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "memeguard-"
_MARK = ".memeguard"  # an empty file; made after the lock, so that a marked folder without a lock is abandoned


class TempFolder:
    """A new folder under TMPDIR; its lock also keeps systemd-tmpfiles from cleaning it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
        self.lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self.lock, fcntl.LOCK_SH)
        (self.path / _MARK).touch()

    def remove(self) -> None:
        """Remove the folder, whatever is left in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def remove_abandoned() -> int:
    """Remove the folders of runs that have ended, also by a kill; return how many."""
    return sum(map(_remove_abandoned, Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")))


def _remove_abandoned(folder: Path) -> bool:
    with contextlib.ExitStack() as stack:
        try:
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            stack.callback(os.close, opened)
            os.stat(_MARK, dir_fd=opened, follow_symlinks=False)
            if os.fstat(opened).st_uid != os.getuid():
                return False
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another user's, in use, removed meanwhile, or not made here
            return False
        shutil.rmtree(folder, ignore_errors=True)
        return True

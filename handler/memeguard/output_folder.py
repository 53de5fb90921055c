"""Write a folder of results: check before the work that it can be written, then let it appear complete.

An existing empty folder is filled and not replaced: it may be the current folder, a mount point, or lie in a parent
folder that may not be written.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memeguard.errors import MemeguardError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCRATCH: Final = ".memeguard-"  # begins the names of temporary folders; a killed process leaves one behind
_FRESH_DISK: Final = "lost+found"  # what an empty ext4 file system has


class OutputError(MemeguardError):
    """Results cannot be written where they are to go."""


def check_new_folder(folder: Path) -> None:
    """Raise ``OutputError`` unless ``folder`` is new or empty, and can be written."""
    with _explain(folder):
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
    if found := [name for name in names if not name.startswith(_SCRATCH) and name != _FRESH_DISK]:
        raise OutputError(f"{folder} is not empty: it contains {min(found)!r}; choose a new or an empty folder")
    check_writable(folder)


def check_writable(folder: Path) -> None:
    """Raise ``OutputError`` unless files can be written into ``folder``, which need not exist yet."""
    with _explain(folder), tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=_nearest_existing(folder.resolve())):
        pass


@contextlib.contextmanager
def fill_new_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder whose files become those of ``folder`` when the block ends without an exception.

    A new folder appears complete or not at all. Into an existing one the files are moved one by
    one, in the order in which they were written.

    Raises:
        OutputError: ``folder`` is not empty, or cannot be written.
    """
    check_new_folder(folder)
    folder = folder.resolve()
    exists = folder.exists()
    place = folder if exists else folder.parent
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=place) as scratch:
        staging = Path(scratch) / "new"
        staging.mkdir()  # with the usual permissions; the temporary folder is its owner's alone
        yield staging
        if not exists:
            staging.rename(folder)
            return
        for path in sorted(staging.iterdir(), key=lambda path: path.stat().st_mtime_ns):
            path.rename(folder / path.name)


def _nearest_existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


@contextlib.contextmanager
def _explain(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error

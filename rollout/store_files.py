"""Open the files of a model store without trusting them: regular files inside the store, every read bounded."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from typing import IO, TYPE_CHECKING, cast

from memeguard.errors import MemeguardError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_READ = 8 * 2**20  # bytes in one read; the list of an archive's members is read at once, 10,000 have about 1 MB
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class ModelStoreError(MemeguardError):
    """A model store from which nothing can be served, and why."""


class BoundedReader(io.FileIO):
    """A file that refuses to read more than ``MAX_READ`` bytes at once, however many its content asks for."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read ``size`` bytes, or all that is left, or raise ``ModelStoreError`` where that is over the limit."""
        left = os.fstat(self.fileno()).st_size - self.tell()
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > MAX_READ:
            raise ModelStoreError(f"it wants {wanted} bytes read at once; the limit is {MAX_READ}")
        return super().read(size) or b""


@contextlib.contextmanager
def open_stored(path: Path, store: Path) -> Iterator[IO[bytes]]:
    """Open ``path``, which has to be a regular file in ``store``; a link is followed as far as it stays there.

    Raises:
        ModelStoreError: It is a FIFO, a device or a folder, leads out of the store, or cannot be read.
    """
    try:
        target = path.resolve(strict=True)
        if not target.is_relative_to(store.resolve()):
            raise ModelStoreError(f"{path} is a link to {target}, which is outside the model store")
        # A FIFO would block the opening without O_NONBLOCK; what became a link since is not followed.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        file = BoundedReader(target, opener=lambda name, _: os.open(name, flags))
    except (OSError, RuntimeError) as error:  # a ring of links is a RuntimeError
        raise _unreadable(path, error) from error
    with file:
        kind = stat.S_IFMT(os.fstat(file.fileno()).st_mode)
        if kind != stat.S_IFREG:
            raise ModelStoreError(f"{path} is {_KINDS.get(kind, 'something else')}, not a regular file")
        yield cast("IO[bytes]", file)


def _unreadable(path: Path, error: Exception) -> ModelStoreError:
    if isinstance(error, IsADirectoryError):
        return ModelStoreError(f"{path} is a folder, not a regular file")
    reason = error.strerror if isinstance(error, OSError) else error
    return ModelStoreError(f"{path} cannot be read: {reason}")

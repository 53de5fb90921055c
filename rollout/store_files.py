"""Open the files of a model store without trusting them: regular files inside the store, every read bounded."""

from __future__ import annotations

import contextlib
import io
import os
from typing import IO, TYPE_CHECKING, cast

from memeguard.errors import MemeguardError
from memeguard.regular_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_READ = 8 * 2**20  # bytes in one read; the list of an archive's members is read at once, 10,000 have about 1 MB


class ModelStoreError(MemeguardError):
    """Nothing can be served from the model store."""


class BoundedReader(io.FileIO):
    """A file that refuses to read more than ``MAX_READ`` bytes at once, however many its content asks for."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read ``size`` bytes, or all that is left; raise ``ModelStoreError`` if that is more than ``MAX_READ``."""
        left = os.fstat(self.fileno()).st_size - self.tell()
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > MAX_READ:
            raise ModelStoreError(f"it wants {wanted} bytes read at once; the limit is {MAX_READ}")
        return super().read(size) or b""


@contextlib.contextmanager
def open_stored(path: Path, store: Path, *, max_bytes: int) -> Iterator[IO[bytes]]:
    """Open a regular file of at most ``max_bytes`` in ``store``; a link is followed if it stays in there.

    Raises:
        ModelStoreError: The file is something else, too large, outside the store, or cannot be read.
    """
    try:
        file = BoundedReader(open_regular(path, max_bytes=max_bytes, root=store.resolve()))
    except OSError as error:
        raise ModelStoreError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield cast("IO[bytes]", file)

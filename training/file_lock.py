"""Wait for a lock on a file, which ends with the process that holds it. Does not know what it guards."""

from __future__ import annotations

import contextlib
import fcntl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Wait for the lock on the file ``path``, made if it is missing, and hold it."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

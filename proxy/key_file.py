"""Read TorchServe's keys from ``key_file.json``.

TorchServe writes the file when it starts and rewrites it in place at each renewal (``TokenAuthorization.java``), so a
reader may find it half-written.
"""

from __future__ import annotations

import fcntl
import json
import time
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LOCK_PATIENCE_S = 10.0  # a renewal has 5 s
HALF_WRITTEN_PATIENCE_S = 0.5  # the file has some 300 bytes; writing it takes far less
_RETRY_S = 0.02


class Audience(StrEnum):
    """The API that a key is for; the values are the members' names in the file."""

    INFERENCE = "inference"
    MANAGEMENT = "management"
    RENEWAL = "API"


class KeyFileError(Exception):
    """The key file is missing, may not be read, or stays incomplete."""


def read_keys(path: Path) -> Mapping[Audience, str]:
    """Return the key for each audience; wait briefly if the file is being rewritten.

    Raises:
        KeyFileError: The file is missing, may not be read, or holds no complete document.
    """
    deadline = time.monotonic() + HALF_WRITTEN_PATIENCE_S
    while True:
        try:
            document = json.loads(path.read_bytes())
            return {audience: str(document[audience]["key"]) for audience in Audience}
        except OSError as error:
            raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            if time.monotonic() > deadline:
                raise KeyFileError(f"{path} holds no complete keys after {HALF_WRITTEN_PATIENCE_S} s") from error
        time.sleep(_RETRY_S)


@contextmanager
def lock_keys(path: Path) -> Iterator[None]:
    """Lock the file against other threads and processes, because each renewal invalidates the key before it.

    Raises:
        KeyFileError: The file is missing, may not be read, cannot be locked, or stays locked for ``LOCK_PATIENCE_S``.
    """
    deadline = time.monotonic() + LOCK_PATIENCE_S
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            # Waiting within flock would stop every greenlet of the process, the one that holds the lock included.
            while not _try_lock(file):  # closing the file releases it
                if time.monotonic() > deadline:
                    raise KeyFileError(f"{path} has been locked by another process for {LOCK_PATIENCE_S} s")
                time.sleep(_RETRY_S)
        except OSError as error:
            raise KeyFileError(f"{path} cannot be locked: {error.strerror}") from error
        yield


def _try_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

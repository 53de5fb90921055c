"""Read untrusted files: only regular ones, only up to a limit, and no link out of a folder.

A named pipe would block for ever, a device may never end, and a link may lead to a private file. Needs Linux: the
kernel itself says which file a descriptor belongs to, so that a link cannot be changed in between.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from typing import Final

MAX_PICTURE_BYTES: Final = 256 << 20  # the largest picture that is decoded, 50 megapixels with alpha, has 200 MB as BMP
_BLOCK_BYTES: Final = 1 << 20
_KINDS: Final = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)

FilePath = str | bytes | os.PathLike[str]


class RefusedFileError(OSError):
    """The file exists but is refused. ``strerror`` says why; ``errno`` is EFBIG if the file is only too large."""


def open_regular(path: FilePath, *, max_bytes: int, root: FilePath | None = None) -> int:
    """Open a regular file for reading, without ever opening a named pipe or a device.

    Args:
        path: The file.
        max_bytes: Largest size.
        root: A folder that must contain the file after all links have been followed; any place if None.

    Returns:
        A descriptor, which the caller closes.

    Raises:
        RefusedFileError: It is not a regular file, too large, or outside ``root``.
        OSError: It does not exist or cannot be read.
        ValueError: The path cannot be a file's name.
    """
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)  # a handle on the file that does not open it
    try:
        status = os.fstat(found)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(status.st_mode):
            raise RefusedFileError(errno.EINVAL, f"not a regular file but {_name_kind(status.st_mode)}", path)
        if status.st_size > max_bytes:
            raise RefusedFileError(errno.EFBIG, f"has {status.st_size} bytes; the limit is {max_bytes}", path)
        if root is not None:
            _check_inside(found, path, root)
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(found)


def read_regular(path: FilePath, *, max_bytes: int, root: FilePath | None = None) -> bytes:
    """Return the bytes of a regular file; arguments and errors are those of ``open_regular``."""
    fd = open_regular(path, max_bytes=max_bytes, root=root)
    try:
        # One call for nearly every file; Python's own stream would cost as much as all the checks.
        content = os.read(fd, os.fstat(fd).st_size + 1)
        while (rest := os.read(fd, _BLOCK_BYTES)) and len(content) <= max_bytes:  # the file may grow meanwhile
            content += rest
    finally:
        os.close(fd)
    if len(content) > max_bytes:
        raise RefusedFileError(errno.EFBIG, f"has more than {max_bytes} bytes, the limit", path)
    return content


def read_picture(path: FilePath, *, root: FilePath | None = None) -> bytes:
    """Return the bytes of a picture file of at most ``MAX_PICTURE_BYTES``; errors are those of ``open_regular``."""
    return read_regular(path, max_bytes=MAX_PICTURE_BYTES, root=root)


def _name_kind(mode: int) -> str:
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")


def _check_inside(fd: int, path: FilePath, root: FilePath) -> None:
    folder = os.fspath(root)
    if not os.path.isabs(folder):  # noqa: PTH117
        folder = os.path.abspath(folder)  # noqa: PTH100 - may be bytes
    if not os.readlink(b"/proc/self/fd/%d" % fd).startswith(_resolve(folder)):  # noqa: PTH115
        raise RefusedFileError(errno.EXDEV, f"a link that leaves the folder {os.fsdecode(root)}", path)


@functools.lru_cache(maxsize=64)
def _resolve(folder: str | bytes) -> bytes:
    """Return ``folder`` without links, with a slash at its end; cached, because a million pictures ask for it."""
    return os.path.join(os.fsencode(os.path.realpath(folder)), b"")  # noqa: PTH118

"""Read a folder of pictures as memes, captions from the .txt files beside them.

Does not know whether a file is a picture indeed: a name that ends like one is enough.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import itertools
import os
import tempfile
from typing import IO, TYPE_CHECKING, Final

from memeguard.errors import MemeError, TextTooLongError
from memeguard.regular_file import RefusedFileError, read_regular
from scoring.errors import UnreadableFileError
from scoring.meme_source import Item, Source, is_our_trouble, let_go

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# Those that are read, and those people take for pictures: a row that says why is better than none. Files that are
# stored under their hash have no ending at all.
_ENDINGS: Final = frozenset(
    b" .jpg .jpeg .jpe .jfif .png .apng .gif .webp .bmp .dib .tif .tiff .heic .heif .avif .jxl .svg".split(b" ")
)
_CAPTION: Final = b".txt"
_MAX_CAPTION_BYTES: Final = 1 << 20
_RUN_LENGTH: Final = 100_000  # names sorted in memory at once


def read_folder(folder: Path) -> Source:
    """All pictures in ``folder`` and below, ordered by name; hidden ones are left out, linked folders not entered.

    However many there are, the names wait in a temporary file.

    Raises:
        OSError: A folder cannot be read.
    """
    walk = _Walk(os.fsencode(folder))
    listing = _sort(walk.lines())
    digest, num_memes = hashlib.sha256(), 0
    for line in listing:
        digest.update(line)
        num_memes += 1
    return Source(
        kind="folder",
        sha256=digest.hexdigest(),
        num_memes=num_memes,
        num_skipped=walk.num_skipped,
        folder=folder,
        items=lambda: _items(os.fsencode(folder), listing),
        close=listing.close,
    )


class _Walk:
    """Finds the pictures of a folder, and counts what is passed by."""

    def __init__(self, folder: bytes) -> None:
        self._folder = folder
        self.num_skipped = 0

    def lines(self) -> Iterator[bytes]:
        """A line for each picture: its escaped name, its size and its caption's, -1 for none."""
        folders = [b""]
        while folders:
            below = folders.pop()
            with os.scandir(os.path.join(self._folder, below)) as entries:  # noqa: PTH118 - bytes
                for entry in entries:
                    name = os.path.join(below, entry.name)  # noqa: PTH118
                    if entry.name.startswith(b"."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(name)
                    elif _is_picture(entry):
                        picture, caption = (os.path.join(self._folder, each) for each in (name, _caption_of(name)))  # noqa: PTH118
                        escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
                        yield b"%b\0%d %d\n" % (escaped, _find_size(picture), _find_size(caption))
                    elif not entry.name.endswith(_CAPTION):
                        self.num_skipped += 1


def _is_picture(entry: os.DirEntry[bytes]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in _ENDINGS and not _is_folder(entry)  # noqa: PTH122


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links; said in words by whoever reads the picture
        return False


def _caption_of(name: bytes) -> bytes:
    return os.path.splitext(name)[0] + _CAPTION  # noqa: PTH122


def _find_size(path: bytes) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return -1


def _sort(lines: Iterable[bytes]) -> IO[bytes]:
    """A temporary file of the sorted lines; only ``_RUN_LENGTH`` of them are held in memory."""
    runs: list[IO[bytes]] = []
    unsorted = iter(lines)
    while run := sorted(itertools.islice(unsorted, _RUN_LENGTH)):
        runs.append(_spool(run))
    merged = _spool(heapq.merge(*runs))
    for file in runs:
        file.close()
    return merged


def _spool(lines: Iterable[bytes]) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the source
    file.writelines(lines)
    file.seek(0)
    return file


def _items(folder: bytes, listing: IO[bytes]) -> Iterator[Item]:
    listing.seek(0)
    for line in listing:
        escaped, _, _ = line.partition(b"\0")
        # In the order opposite to escaping a pair of backslashes would be halved first.
        name = b"\\".join(part.replace(b"\\n", b"\n") for part in escaped.split(b"\\\\"))
        image = name.decode(errors="backslashreplace")
        path = os.path.join(folder, name)  # noqa: PTH118
        try:
            yield Item(image, path, folder, _read_caption(_caption_of(path), folder))
        except MemeError as error:
            yield Item(image, path, folder, fault=let_go(error))


def _read_caption(path: bytes, folder: bytes) -> bytes:
    """The caption in a file, without byte order mark and the blanks around it; empty if there is no file."""
    try:
        caption = read_regular(path, max_bytes=_MAX_CAPTION_BYTES, root=folder)
    except (FileNotFoundError, IsADirectoryError):
        return b""
    except RefusedFileError as error:
        if error.errno == errno.EFBIG:
            raise TextTooLongError(f"text {error.strerror}") from error
        raise UnreadableFileError(f"text is {error.strerror}") from error
    except OSError as error:
        if is_our_trouble(error):
            raise
        raise UnreadableFileError(f"text cannot be read: {error.strerror}") from error
    return caption.removeprefix(b"\xef\xbb\xbf").strip()

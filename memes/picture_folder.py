"""Read a folder of pictures as memes without labels; captions are in the .txt files beside the pictures."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from memeguard.errors import MemeError, TextTooLongError, detached
from memeguard.regular_file import RefusedFileError, read_regular
from memes.source import Source, SourceMeme, UnreadableFileError, is_machine_error

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
_LINES_AT_ONCE: Final = 4096  # as Python objects


def read_folder(folder: Path) -> Source:
    """All files in ``folder`` and below whose names end like a picture's, ordered by name.

    Hidden files are left out, and links to folders are not followed. A picture's name takes as much memory as it has
    bytes, and some 30 bytes more.

    Raises:
        OSError: A folder cannot be read.
    """
    walk = _Walk(os.fsencode(folder))
    lines = _sort(walk.lines())
    digest = hashlib.sha256()
    for line in _values(lines):
        digest.update(line)
    return Source(
        kind="folder",
        sha256=digest.hexdigest(),
        num_memes=len(lines),
        num_skipped=walk.num_skipped,
        folder=folder,
        memes=lambda: (_make_meme(os.fsencode(folder), line) for line in _values(lines)),
    )


class _Walk:
    """Finds the pictures of a folder, and counts the files that are neither pictures nor captions."""

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
    except OSError:  # a loop of links; reported when the picture is read
        return False


def _caption_of(name: bytes) -> bytes:
    return os.path.splitext(name)[0] + _CAPTION  # noqa: PTH122


def _find_size(path: bytes) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return -1


def _sort(lines: Iterable[bytes]) -> pa.ChunkedArray:
    """The lines in the order of their bytes; only a few thousand are held as Python objects."""
    unsorted = iter(lines)
    chunks = iter(lambda: list(itertools.islice(unsorted, _LINES_AT_ONCE)), [])
    array = pa.chunked_array([pa.array(chunk, pa.large_binary()) for chunk in chunks], pa.large_binary())
    return array.take(pc.sort_indices(array))


def _values(lines: pa.ChunkedArray) -> Iterator[bytes]:
    for start in range(0, len(lines), _LINES_AT_ONCE):
        yield from lines.slice(start, _LINES_AT_ONCE).to_pylist()


def _make_meme(folder: bytes, line: bytes) -> SourceMeme:
    escaped, _, _ = line.partition(b"\0")
    # In the order opposite to escaping a pair of backslashes would be halved first.
    name = b"\\".join(part.replace(b"\\n", b"\n") for part in escaped.split(b"\\\\"))
    image = name.decode(errors="backslashreplace")
    path = os.path.join(folder, name)  # noqa: PTH118
    try:
        return SourceMeme(image, path, folder, _read_caption(_caption_of(path), folder))
    except MemeError as error:
        return SourceMeme(image, path, folder, error=detached(error))


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
        if is_machine_error(error):
            raise
        raise UnreadableFileError(f"text cannot be read: {error.strerror}") from error
    return caption.removeprefix(b"\xef\xbb\xbf").strip()

"""Read a text file piece by piece, and single pieces anew, without ever holding the whole of it.

Does not know what the text says.
"""

from __future__ import annotations

import codecs
import functools
import os
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple

from memeguard.regular_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from memes.meme import RowErrors

MAX_LISTING_BYTES: Final = 4 << 30  # some twenty million memes
MAX_LINE_BYTES: Final = 16 << 20  # more than any caption; a file of zeros would otherwise be read as one line
_BLOCK_BYTES: Final = 1 << 20


class Record(NamedTuple):
    """One record of a file.

    Attributes:
        row: Its number, from 1.
        start: Offset of its first byte.
        data: Its bytes, line end included.
    """

    row: int
    start: int
    data: bytes


class TextFile:
    """A file that stays open, so that one put in its place later does not matter; closed with its last user.

    ``read`` may be called from several threads at once; a copy and a pickle open the path anew.

    Args:
        path: A regular file of at most ``MAX_LISTING_BYTES``.
        root: A folder that no link may leave; see ``open_regular``.

    Raises:
        OSError: It cannot be opened, or is refused.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        self.path, self.root = path, root
        self._fd = open_regular(path, max_bytes=MAX_LISTING_BYTES, root=root)
        weakref.finalize(self, os.close, self._fd)

    def __reduce__(self) -> tuple[type[TextFile], tuple[Path, Path | None]]:
        return TextFile, (self.path, self.root)

    @property
    def num_bytes(self) -> int:
        """Size of the file now."""
        return os.fstat(self._fd).st_size

    def read(self, start: int, num_bytes: int) -> bytes:
        """Up to ``num_bytes`` from offset ``start``; fewer where the file ends."""
        return os.pread(self._fd, num_bytes, start)

    def blocks(self) -> Iterator[bytes]:
        """The whole file, a MiB at a time."""
        start = 0
        while block := self.read(start, _BLOCK_BYTES):
            yield block
            start += len(block)

    def lines(self) -> Iterator[str]:
        """Every line with its end, be it LF, CRLF or CR, without the byte order mark. One caller at a time.

        Raises:
            ValueError: The file is not UTF-8, or a line is too long; ``check_text`` says so in words.
        """
        os.lseek(self._fd, 0, os.SEEK_SET)
        with open(self._fd, encoding="utf-8-sig", newline="", closefd=False) as stream:
            longest = MAX_LINE_BYTES + _BLOCK_BYTES  # ``check_text`` looks once a block
            for line in iter(functools.partial(stream.readline, longest + 1), ""):
                if len(line) > longest:
                    raise ValueError(f"a line has over {MAX_LINE_BYTES} bytes, the limit")
                yield line

    def records(self) -> Iterator[Record]:
        """Every line as a record, blank ones included."""
        start = self.text_start
        for row, line in enumerate(self.lines(), 1):
            record = Record(row, start, line.encode())
            yield record
            start += len(record.data)

    @property
    def text_start(self) -> int:
        """Offset of the first byte after the byte order mark, if there is one."""
        mark = codecs.BOM_UTF8
        return len(mark) if self.read(0, len(mark)) == mark else 0


def open_text(path: Path, errors: RowErrors, root: Path | None = None) -> TextFile | None:
    """Open a file that lies in ``root``, if that is given, or note why it cannot be."""
    try:
        return TextFile(path, root)
    except FileNotFoundError:
        errors.add_file_error(f"{path}: missing file")
    except OSError as error:
        errors.add_file_error(f"{path}: unreadable file, {error.strerror}")
    return None


def check_text(file: TextFile, expected: str, errors: RowErrors) -> bool:
    """Tell whether the file is UTF-8 without NUL bytes, having noted why not, or that ``expected`` is missing."""
    try:
        fault, blank = _scan(file)
    except OSError as error:
        fault, blank = f"unreadable file, {error.strerror}", False
    if fault:
        errors.add_file_error(f"{file.path}: {fault}")
    elif blank:
        errors.add_file_error(f"{file.path}: empty file, expected {expected}")
    return not fault


def _scan(file: TextFile) -> tuple[str, bool]:
    """What makes the bytes unreadable, if anything does, and whether there is nothing but white space."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, line, line_start, nul, blank = 0, 1, 0, "", True
    try:
        for block in file.blocks():
            text = decoder.decode(block)
            blank = blank and not (text if offset else text.removeprefix("\ufeff")).strip()
            if not nul and (found := block.find(0)) >= 0:
                nul = _describe_nul(block, found, offset, line)
            line += block.count(b"\n")
            if (last_end := max(block.rfind(b"\n"), block.rfind(b"\r"))) >= 0:
                line_start = offset + last_end + 1
            offset += len(block)
            if offset - line_start > MAX_LINE_BYTES:
                return nul or f"line {line} has over {MAX_LINE_BYTES} bytes, the limit", False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        # It was given what it had kept of the block before, and it keeps that when it fails.
        start = offset - len(decoder.getstate()[0]) + error.start
        return f"not UTF-8, byte 0x{error.object[error.start]:02x} at offset {start}", False
    return nul, blank


def _describe_nul(block: bytes, found: int, offset: int, line: int) -> str:
    fault = f"NUL byte, at offset {offset + found}; the file must be UTF-8 text"
    following = block[found + 1 : found + 2]
    if not following.isdigit() and following != b".":
        return fault
    line += block.count(b"\n", 0, found)
    return f"{fault} (in line {line}: a picture's name is written img/0.png, for img\\0.png may become a NUL)"

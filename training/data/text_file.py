"""Read a text file piece by piece, and single pieces anew, without ever holding the whole of it.

Does not know what the text says.
"""

from __future__ import annotations

import codecs
import os
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from training.data.memes import Offenders

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

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as stream:  # unlike os.open, refuses a folder
            self._fd = os.dup(stream.fileno())
        weakref.finalize(self, os.close, self._fd)

    def __reduce__(self) -> tuple[type[TextFile], tuple[Path]]:
        return TextFile, (self.path,)

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
            UnicodeDecodeError: The file is not UTF-8; ``check_text`` says so in words.
        """
        os.lseek(self._fd, 0, os.SEEK_SET)
        with open(self._fd, encoding="utf-8-sig", newline="", closefd=False) as stream:
            yield from stream

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


def open_text(path: Path, offenders: Offenders) -> TextFile | None:
    """Open a file, or note why it cannot be."""
    try:
        return TextFile(path)
    except FileNotFoundError:
        offenders.add(f"{path}: missing file")
    except OSError as error:
        offenders.add(f"{path}: unreadable file, {error.strerror}")
    return None


def check_text(file: TextFile, expected: str, offenders: Offenders) -> bool:
    """Tell whether the file is UTF-8 without NUL bytes, having noted why not, or that ``expected`` is missing."""
    try:
        fault, blank = _scan(file)
    except OSError as error:
        fault, blank = f"unreadable file, {error.strerror}", False
    if fault:
        offenders.add(f"{file.path}: {fault}")
    elif blank:
        offenders.add(f"{file.path}: empty file, expected {expected}")
    return not fault


def _scan(file: TextFile) -> tuple[str, bool]:
    """What makes the bytes unreadable, if anything does, and whether there is nothing but white space."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, nul, blank = 0, -1, True
    try:
        for block in file.blocks():
            text = decoder.decode(block)
            blank = blank and not (text if offset else text.removeprefix("\ufeff")).strip()
            if nul < 0 <= (found := block.find(0)):
                nul = offset + found
            offset += len(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        # It was given what it had kept of the block before, and it keeps that when it fails.
        start = offset - len(decoder.getstate()[0]) + error.start
        return f"not UTF-8, byte 0x{error.object[error.start]:02x} at offset {start}", False
    return (f"NUL byte, at offset {nul}; the file must be UTF-8 text" if nul >= 0 else ""), blank

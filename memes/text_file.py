"""Open UTF-8 text files that list memes, and read them a line or a block at a time."""

from __future__ import annotations

import codecs
import functools
import os
import weakref
from typing import TYPE_CHECKING, Final

from memeguard.regular_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from memes.meme import RowErrors

MAX_LISTING_BYTES: Final = 4 << 30  # some twenty million memes
MAX_LINE_BYTES: Final = 16 << 20  # more than any caption; a file of zeros would otherwise be read as one line
_BLOCK_BYTES: Final = 1 << 20


class TextFile:
    """An open text file. A file that replaces it on disk is not read; it is closed with its last reference.

    Args:
        path: A regular file of at most ``MAX_LISTING_BYTES``.
        root: A folder that no link may leave; see ``open_regular``.

    Raises:
        OSError: The file cannot be opened, or ``open_regular`` refuses it.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        self.path, self.root = path, root
        self._fd = open_regular(path, max_bytes=MAX_LISTING_BYTES, root=root)
        weakref.finalize(self, os.close, self._fd)

    @property
    def num_bytes(self) -> int:
        """Size of the file now."""
        return os.fstat(self._fd).st_size

    def blocks(self) -> Iterator[bytes]:
        """The whole file, a MiB at a time."""
        start = 0
        while block := os.pread(self._fd, _BLOCK_BYTES, start):
            yield block
            start += len(block)

    def lines(self) -> Iterator[str]:
        """Every line with its end (LF, CRLF or CR), without the byte order mark; each call starts over for all.

        Raises:
            ValueError: The file is not UTF-8, or a line is too long; ``check_text`` reports where.
        """
        os.lseek(self._fd, 0, os.SEEK_SET)
        with open(self._fd, encoding="utf-8-sig", newline="", closefd=False) as stream:
            longest = MAX_LINE_BYTES + _BLOCK_BYTES  # ``check_text`` checks the length once a block
            for line in iter(functools.partial(stream.readline, longest + 1), ""):
                if len(line) > longest:
                    raise ValueError(f"a line has over {MAX_LINE_BYTES} bytes, the limit")
                yield line


def open_text(path: Path, errors: RowErrors, root: Path | None = None) -> TextFile | None:
    """Open a text file, or note in ``errors`` why it cannot be opened; arguments as in ``TextFile``."""
    try:
        return TextFile(path, root)
    except FileNotFoundError:
        errors.add_file_error(f"{path}: missing file")
    except OSError as error:
        errors.add_file_error(f"{path}: unreadable file, {error.strerror}")
    return None


def check_text(file: TextFile, expected: str, errors: RowErrors) -> bool:
    """Check that a file is UTF-8 text without NUL bytes, and note in ``errors`` why not.

    Args:
        file: The file, which is read as a whole.
        expected: What should be in the file, for the error of an empty one.
        errors: Where to note what is wrong.

    Returns:
        Whether the file can be read as text; true for an empty one.
    """
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
    """What makes the bytes unreadable (empty if nothing does), and whether the file is all white space."""
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
        # The decoder prepends what it had kept of the block before, and keeps it when it fails.
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

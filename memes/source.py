"""Memes without labels, in a fixed order: from a folder of pictures or from a list."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from memeguard.errors import ImageTooLargeError, MemeError
from memeguard.regular_file import RefusedFileError
from memeguard.regular_file import read_picture as read_guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MACHINE_ERRORS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class MissingFileError(MemeError):
    """There is no file where the source says that the picture is."""

    code = "missing_file"


class UnreadableFileError(MemeError):
    """The picture or its caption is not a file that can be read."""

    code = "unreadable_file"


class InvalidRowError(MemeError):
    """A row of a list does not name a picture and a caption."""

    code = "invalid_row"


class SourceMeme(NamedTuple):
    """One meme of a source; its picture has not been opened.

    Attributes:
        image: The picture's name as the source has it.
        path: Where the picture is.
        folder: The folder that no link of the picture may leave.
        text: The caption; as bytes if it was read from a file of its own, which need not be UTF-8.
        error: Why the meme cannot be scored, if that is known already.
    """

    image: str
    path: str | bytes
    folder: str | bytes
    text: str | bytes = ""
    error: MemeError | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """Memes in an order that does not change.

    Attributes:
        kind: "folder", "csv" or "jsonl".
        sha256: SHA-256 in hex of the list, or of a folder's file names and sizes.
        num_memes: How many memes there are.
        num_skipped: Files of a folder that are neither pictures nor captions.
        columns: Names of the columns of picture and caption, if the source is a list.
        folder: Where the pictures are.
        memes: Reads all memes from the first.
    """

    kind: str
    sha256: str
    num_memes: int
    folder: Path
    memes: Callable[[], Iterator[SourceMeme]]
    num_skipped: int = 0
    columns: tuple[str, str] | None = None


def read_picture(meme: SourceMeme) -> bytes:
    """Read the bytes of a meme's picture.

    Raises:
        MemeError: The picture cannot be read.
        OSError: This machine is short of memory or of file handles; that says nothing about the picture.
    """
    try:
        return read_guarded(meme.path, root=meme.folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError("image is not there: no such file") from error
    except RefusedFileError as error:
        if error.errno == errno.EFBIG:
            raise ImageTooLargeError(f"image {error.strerror}") from error
        raise UnreadableFileError(f"image is {error.strerror}") from error
    except OSError as error:
        if is_machine_error(error):
            raise
        raise UnreadableFileError(f"image cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL, or half a character
        raise UnreadableFileError("image has a name that no file can have") from error


def is_machine_error(error: OSError) -> bool:
    """Whether the machine, not the file, is the cause: it is short of memory or of file handles."""
    return error.errno in _MACHINE_ERRORS

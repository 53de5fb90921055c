"""What is to be scored: memes in a fixed order, read one after another.

Does not know how the pictures are decoded, nor what becomes of the memes.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from memeguard.errors import ImageTooLargeError, MemeError
from memeguard.regular_file import RefusedFileError
from memeguard.regular_file import read_picture as read_guarded
from scoring.errors import MissingFileError, UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Self

_OUR_TROUBLE: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # says nothing about the file


class Item(NamedTuple):
    """One meme that is to be judged.

    Attributes:
        image: Its picture as the source names it, and the verdicts will.
        path: Where the picture is.
        folder: What no link of the picture may leave.
        text: Its caption; bytes of a file may be anything.
        fault: Why it cannot be judged, if that is known before the picture has been read.
    """

    image: str
    path: str | bytes
    folder: str | bytes
    text: str | bytes = ""
    fault: MemeError | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """Memes in an order that does not change.

    Attributes:
        kind: "folder", "csv" or "jsonl".
        sha256: Of what lists the memes, in hex: another list, another hash.
        num_memes: How many there are.
        num_skipped: Files of a folder that are neither pictures nor captions.
        columns: Names of the picture's and the caption's column, if there are columns.
        folder: Where the pictures are.
        items: Reads all memes from the first.
        close: Gives back what the source holds; leaving a ``with`` calls it.
    """

    kind: str
    sha256: str
    num_memes: int
    folder: Path
    items: Callable[[], Iterator[Item]]
    num_skipped: int = 0
    columns: tuple[str, str] | None = None
    close: Callable[[], object] = lambda: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_picture(item: Item) -> bytes:
    """The bytes of its picture; raises the ``MemeError`` that says why there are none."""
    try:
        return read_guarded(item.path, root=item.folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError("image is not there: no such file") from error
    except RefusedFileError as error:
        if error.errno == errno.EFBIG:
            raise ImageTooLargeError(f"image {error.strerror}") from error
        raise UnreadableFileError(f"image is {error.strerror}") from error
    except OSError as error:
        if is_our_trouble(error):
            raise
        raise UnreadableFileError(f"image cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL, or half a character
        raise UnreadableFileError("image has a name that no file can have") from error


def is_our_trouble(error: OSError) -> bool:
    """Whether it says something about this machine, not about the file."""
    return error.errno in _OUR_TROUBLE


def let_go(error: MemeError) -> MemeError:
    """The error without what it stems from: tracebacks keep every variable on the way, pictures and captions too."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)

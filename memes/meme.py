"""What a labelled meme is, in which splits memes come, and how everything wrong with them is told at once.

Does not know any file format.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

from memeguard.errors import MemeguardError
from memeguard.regular_file import read_picture

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
MAX_ROW_ERRORS: Final = 1_000  # listed by one error; a person reads fewer, and a million would fill the memory
MAX_ROW_ERROR_CHARS: Final = 2_000  # of one line: a value may be as long as a file


class Label(enum.IntEnum):
    """What a meme is; offensive is the positive class of every metric."""

    NON_OFFENSIVE = 0
    OFFENSIVE = 1

    @property
    def word(self) -> str:
        """As people read it."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Meme:
    """One labelled meme.

    Attributes:
        image_path: The picture, inside the data folder.
        text: The caption exactly as the file has it; may be empty.
        label: Offensive or not.
        file: Name of the file that lists it.
        row: In JSON lines, the number of the line. In a CSV, the number of the record, the header being 1, as a
            spreadsheet shows it: a caption that spans several lines is one record, a blank line is one too.
        folder: The data folder, which no link may leave; anywhere if not given.
    """

    image_path: Path
    text: str
    label: Label
    file: str
    row: int
    folder: Path | None = field(default=None, compare=False, repr=False)

    @property
    def where(self) -> str:
        """Where it is listed, as an error names it."""
        return f"{self.file}, row {self.row}"

    def read_picture(self) -> bytes:
        """The bytes of its picture; raises ``OSError``, see ``open_regular``."""
        return read_picture(self.image_path, root=self.folder)


class DataError(MemeguardError):
    """Everything that is wrong with a data folder, one line each, under a line that counts them.

    Attributes:
        row_errors: Lines that read ``file, row N: what, value``; the row is left out where it is the file itself.
        num_more: How many more were found and are not listed.
    """

    def __init__(self, row_errors: Sequence[str], *, num_more: int = 0, note: str = "") -> None:
        num = len(row_errors) + num_more
        lines = [f"{num} {'problem' if num == 1 else 'problems'} in the data{note}:", *row_errors]
        super().__init__("\n".join([*lines, f"and {num_more} more"] if num_more else lines))
        self.row_errors = tuple(row_errors)
        self.num_more = num_more


class RowErrors:
    """Gathers what is wrong with a data folder; lists ``MAX_ROW_ERRORS`` lines and counts the others.

    Args:
        max_skipped: Up to so many memes with row errors are left out instead of refusing the folder.
    """

    def __init__(self, *, max_skipped: int = 0) -> None:
        self._lines: list[str] = []
        self._num = self._num_fatal = 0
        self._max_skipped = max_skipped
        self._row_errors: dict[tuple[Path, int], list[str]] = {}

    def __len__(self) -> int:
        return self._num

    def add_file_error(self, line: str) -> None:
        """Note one fault of a file or a folder, ``file: what, value``."""
        if line in self._lines:  # one file may be read for two splits
            return
        self._num_fatal += 1
        self._note(line)

    def add(self, path: Path, row: int, fault: str) -> None:
        """Note what is wrong with one meme, ``what, value``: the file that lists it, the row, the fault."""
        self._note(f"{path}, row {row}: {fault}")
        if self._max_skipped and len(self._row_errors) <= self._max_skipped:  # one too many is enough to know
            self._row_errors.setdefault((path, row), []).append(fault)

    def skipped_rows(self, path: Path) -> Collection[int]:
        """Rows of a file that are left out."""
        return {row for listing, row in self._row_errors if listing == path}

    def skipped(self) -> tuple[str, ...]:
        """A line for each meme that is left out, ``file, row N: what, value``; no folder is named."""
        return tuple(f"{path.name}, row {row}: {'; '.join(faults)}" for (path, row), faults in self._row_errors.items())

    def raise_any(self) -> None:
        """Raise one ``DataError`` of all that was noted, unless nothing was or every faulty meme may be left out."""
        too_many = len(self._row_errors) > self._max_skipped
        if self._num_fatal or (self._num and (too_many or not self._max_skipped)):
            note = f"; at most {self._max_skipped} memes may be left out" if too_many else ""
            raise DataError(self._lines, num_more=self._num - len(self._lines), note=note)

    def _note(self, line: str) -> None:
        self._num += 1
        if len(self._lines) < MAX_ROW_ERRORS:
            self._lines.append(line if len(line) <= MAX_ROW_ERROR_CHARS else f"{line[:MAX_ROW_ERROR_CHARS]}…")

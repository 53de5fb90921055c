"""Labelled memes, and the errors that list everything wrong with a data folder at once."""

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
    """The label of a meme; offensive is the positive class of every metric."""

    NON_OFFENSIVE = 0
    OFFENSIVE = 1

    @property
    def word(self) -> str:
        """The label in messages and reports: "offensive" or "non-offensive"."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Meme:
    """One labelled meme.

    Attributes:
        image_path: The picture, inside the data folder.
        text: The caption exactly as the file has it; may be empty.
        label: Offensive or not.
        file: Name of the file that lists the meme.
        row: Number of its row there, see ``table.Row``.
        folder: The data folder, which no link may leave; if not given, links may lead anywhere.
    """

    image_path: Path
    text: str
    label: Label
    file: str
    row: int
    folder: Path | None = field(default=None, compare=False, repr=False)

    @property
    def where(self) -> str:
        """File and row, as an error names them."""
        return f"{self.file}, row {self.row}"

    def read_picture(self) -> bytes:
        """Read the bytes of the picture; raises ``OSError``, see ``open_regular``."""
        return read_picture(self.image_path, root=self.folder)


class DataError(MemeguardError):
    """Everything that is wrong with a data folder, a line each, below a line that counts them.

    Attributes:
        row_errors: Lines that read ``file, row N: what, value``; without a row if the file itself is wrong.
        num_more: How many more were found than are listed.
    """

    def __init__(self, row_errors: Sequence[str], *, num_more: int = 0, note: str = "") -> None:
        num = len(row_errors) + num_more
        lines = [f"{num} {'problem' if num == 1 else 'problems'} in the data{note}:", *row_errors]
        super().__init__("\n".join([*lines, f"and {num_more} more"] if num_more else lines))
        self.row_errors = tuple(row_errors)
        self.num_more = num_more


class RowErrors:
    """Collects what is wrong with a data folder; keeps ``MAX_ROW_ERRORS`` lines and counts the others.

    Args:
        max_skipped: How many memes with row errors may be left out; the folder is refused if there are more.
    """

    def __init__(self, *, max_skipped: int = 0) -> None:
        self._lines: list[str] = []
        self._num = self._num_fatal = 0
        self._max_skipped = max_skipped
        self._rows: dict[tuple[Path, int], list[str]] = {}

    def __len__(self) -> int:
        return self._num

    def add_file_error(self, line: str) -> None:
        """Add what is wrong with a file or a folder, ``file: what, value``."""
        if line in self._lines:  # one file may be read for two splits
            return
        self._num_fatal += 1
        self._note(line)

    def add(self, path: Path, row: int, fault: str) -> None:
        """Add what is wrong with a row of the file ``path``, ``what, value``."""
        self._note(f"{path}, row {row}: {fault}")
        if self._max_skipped and len(self._rows) <= self._max_skipped:  # one too many is enough to know
            self._rows.setdefault((path, row), []).append(fault)

    def skipped_rows(self, path: Path) -> Collection[int]:
        """Numbers of the rows of a file that are left out."""
        return {row for listing, row in self._rows if listing == path}

    def skipped(self) -> tuple[str, ...]:
        """A line for each meme that is left out, ``file, row N: what, value``; no folder is named."""
        return tuple(f"{path.name}, row {row}: {'; '.join(faults)}" for (path, row), faults in self._rows.items())

    def raise_any(self) -> None:
        """Raise one ``DataError`` of everything noted, unless nothing was or all faulty memes may be left out."""
        too_many = len(self._rows) > self._max_skipped
        if self._num_fatal or (self._num and (too_many or not self._max_skipped)):
            raise self.make_error(f"; at most {self._max_skipped} memes may be left out" if too_many else "")

    def make_error(self, note: str = "") -> DataError:
        """A ``DataError`` of everything noted; ``note`` follows its first line."""
        return DataError(self._lines, num_more=self._num - len(self._lines), note=note)

    def _note(self, line: str) -> None:
        self._num += 1
        if len(self._lines) < MAX_ROW_ERRORS:
            self._lines.append(line if len(line) <= MAX_ROW_ERROR_CHARS else f"{line[:MAX_ROW_ERROR_CHARS]}…")

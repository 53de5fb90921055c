"""What a labelled meme is, in which splits memes come, and how everything wrong with them is told at once.

Does not know any file format.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
MAX_OFFENDERS: Final = 1_000  # listed by one error; a person reads fewer, and a million would fill the memory
MAX_OFFENDER_CHARS: Final = 2_000  # of one line: a value may be as long as a file


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
    """

    image_path: Path
    text: str
    label: Label
    file: str
    row: int

    @property
    def where(self) -> str:
        """Where it is listed, as an error names it."""
        return f"{self.file}, row {self.row}"


class DataError(Exception):
    """Everything that is wrong with a data folder, one line each, under a line that counts them.

    Attributes:
        offenders: Lines that read ``file, row N: what, value``; the row is left out where it is the file itself.
        num_more: Offenders that are counted but not listed.
    """

    def __init__(self, offenders: Sequence[str], *, num_more: int = 0) -> None:
        num = len(offenders) + num_more
        lines = [f"{num} {'problem' if num == 1 else 'problems'} in the data:", *offenders]
        super().__init__("\n".join([*lines, f"and {num_more} more"] if num_more else lines))
        self.offenders = tuple(offenders)
        self.num_more = num_more


class Offenders:
    """Gathers what is wrong with a data folder; lists ``MAX_OFFENDERS`` lines and counts the others."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._num = 0

    def __len__(self) -> int:
        return self._num

    def add(self, line: str) -> None:
        """Note one fault, ``file, row N: what, value``."""
        self._num += 1
        if len(self._lines) < MAX_OFFENDERS:
            self._lines.append(line if len(line) <= MAX_OFFENDER_CHARS else f"{line[:MAX_OFFENDER_CHARS]}…")

    def raise_any(self) -> None:
        """Raise one ``DataError`` of all that was noted, if anything was."""
        if self._num:
            raise DataError(self._lines, num_more=self._num - len(self._lines))

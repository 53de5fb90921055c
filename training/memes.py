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


class Label(enum.IntEnum):
    """What a meme is; offensive is the positive class of every metric."""

    NON_OFFENSIVE = 0
    OFFENSIVE = 1


@dataclass(frozen=True, kw_only=True)
class Meme:
    """One labelled meme.

    Attributes:
        image_path: The picture, inside ``Labelled Images``.
        text: The caption exactly as the CSV has it; may be empty.
        label: Offensive or not.
        file: Name of the file that lists it.
        row: Number of the record in that file, the header being 1, as a spreadsheet shows it: a caption that spans
            several lines is one record, a blank line is one too.
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
    """

    def __init__(self, offenders: Sequence[str]) -> None:
        noun = "problem" if len(offenders) == 1 else "problems"
        super().__init__("\n".join([f"{len(offenders)} {noun} in the data:", *offenders]))
        self.offenders = tuple(offenders)

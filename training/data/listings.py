"""What a layout on disk is: which file lists the memes of which split, where the pictures are, how a row is read.

Does not know any layout.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from training.data.text_file import open_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from training.data.meme_file import MemeFile
    from training.data.memes import Offenders, Split
    from training.data.text_file import TextFile


class ListingFormat(Protocol):
    """How the rows of a listing are written."""

    def has_labels(self, file: TextFile) -> bool:
        """False for a file that is fine but for the labels, which no row has."""

    def read_memes(self, file: TextFile, folder: Path, offenders: Offenders) -> MemeFile | None:
        """Scan a whole file; its pictures are not looked at.

        Args:
            file: The listing.
            folder: What its picture names are relative to.
            offenders: All that is wrong with the file is noted here; the memes are of use only if nothing is.

        Returns:
            Every row that names a picture; None if rows cannot even be told apart.
        """


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where one data folder keeps what.

    Attributes:
        directory: The data folder.
        listing_folder: Where the listings are; None if that is not known, which was noted then.
        file_names: By split, the names its listing may have; one of them may exist.
        format: How the listings are written.
        base: What the listings' picture names are relative to.
        image_folder: Folder in ``directory`` without which there are no pictures at all; None if there is none.
    """

    directory: Path
    listing_folder: Path | None
    file_names: Mapping[Split, tuple[str, ...]]
    format: ListingFormat
    base: Path
    image_folder: str | None

    @property
    def expected(self) -> str:
        """The names a listing may have, as an error names them."""
        return ", ".join(name for names in self.file_names.values() for name in names)

    def open_listings(
        self, splits: Collection[Split], offenders: Offenders, *, required: Collection[Split] = ()
    ) -> Iterator[tuple[Split, TextFile]]:
        """Open the labelled listing of each of ``splits``, in the order of the splits.

        Args:
            splits: Which to look for; one that is absent or has no labels is left out.
            offenders: What keeps a listing from being opened is noted here.
            required: Splits that may not be left out without a note.
        """
        for split in self.file_names:
            if split in splits and (path := self._find(split, offenders, required=split in required)):
                file = open_text(path, offenders)
                if file and self.format.has_labels(file):
                    yield split, file
                elif file and split in required:
                    offenders.add(f"{path}: no labels, in any row; the split {split} needs them")

    def _find(self, split: Split, offenders: Offenders, *, required: bool) -> Path | None:
        if self.listing_folder is None:
            return None
        names = self.file_names[split]
        found = find_present(self.listing_folder, names)
        if len(found) == 1:
            return self.listing_folder / found[0]
        if found:
            offenders.add(
                f"{self.listing_folder}: {len(found)} files of split {split}, {' and '.join(found)}; keep one"
            )
        elif required and len(names) == 1:
            offenders.add(f"{self.listing_folder / names[0]}: missing file")
        elif required:
            offenders.add(f"{self.listing_folder}: missing file, {' or '.join(names)}")
        return None


@dataclass(frozen=True, kw_only=True)
class LayoutKind:
    """How a layout is recognised.

    Attributes:
        name: As an error calls it.
        expected: What a folder in this layout holds, as an error names it.
        find_traces: Names of what a folder holds of it; empty if it is in another layout.
        describe: Makes the layout of a folder with such traces, and notes what is wrong with its folders.
    """

    name: str
    expected: str
    find_traces: Callable[[Path], list[str]]
    describe: Callable[[Path, Offenders], Layout]


def make_flat_kind(
    *,
    name: str,
    expected: str,
    file_names: Mapping[Split, tuple[str, ...]],
    listing_format: ListingFormat,
    image_folder: str | None,
) -> LayoutKind:
    """A layout whose listings stand in the data folder itself; arguments as in ``LayoutKind`` and ``Layout``."""

    def describe(directory: Path, _: Offenders) -> Layout:
        return Layout(
            directory=directory,
            listing_folder=directory,
            file_names=file_names,
            format=listing_format,
            base=directory,
            image_folder=image_folder,
        )

    every = tuple(itertools.chain.from_iterable(file_names.values()))
    return LayoutKind(
        name=name,
        expected=expected,
        find_traces=lambda directory: find_present(directory, every),
        describe=describe,
    )


def find_present(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that are in ``folder``, be it as a dangling link: what is so called is meant to be read."""
    return [name for name in names if os.path.lexists(folder / name)]


def find_name_fault(spelled: str, field: str, folder: str) -> str | None:
    """What is wrong with a picture's name, blanks around it aside.

    Args:
        spelled: The name as the row has it.
        field: What the row calls it.
        folder: What it may not leave, as an error names it.
    """
    name = spelled.strip()
    if not name:
        return f"empty {field}, {spelled!r}"
    if Path(name).is_absolute() or ".." in name.replace("\\", "/").split("/"):
        return f"{field} leaves {folder}, {name!r}"
    return None

"""What a layout says: which file lists the memes of a split, how its rows are written, and where the pictures are."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from memes.text_file import open_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from memes.listing_format import ListingFormat
    from memes.meme import RowErrors, Split
    from memes.text_file import TextFile

# Endings of files that may list memes; such a file is reported if it is not read.
LISTING_ENDINGS: Final = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".xlsx")


class Listing(NamedTuple):
    """The open file that lists a split, its format, and the folder that its picture names are relative to."""

    split: Split
    file: TextFile
    format: ListingFormat
    base: Path


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The layout of one data folder.

    Attributes:
        directory: The data folder.
        listing_folder: Where the listings are; None if that is unknown, which is noted as an error.
        present: Names of all files there that look like listings, see ``list_listings``.
        file_names: By split, the names its listing may have, in any case; at most one of them may exist.
        fallbacks: By split, the name of the listing to read if none of those exists.
        format: How the rows of the listings are written.
        base: The folder that the listings' picture names are relative to.
        image_folder: Folder in ``directory`` that must exist for its pictures; None if there is no such folder.
    """

    directory: Path
    listing_folder: Path | None
    present: Sequence[str]
    file_names: Mapping[Split, tuple[str, ...]]
    fallbacks: Mapping[Split, str] = field(default_factory=dict)
    format: ListingFormat
    base: Path
    image_folder: str | None

    @property
    def expected(self) -> str:
        """The names that listings may have, as an error names them."""
        return ", ".join(name for names in self.file_names.values() for name in names)

    def open_listings(
        self, splits: Collection[Split], errors: RowErrors, *, required: Collection[Split] = ()
    ) -> Iterator[Listing]:
        """Open the labelled listing of each of ``splits``, in the order of the splits.

        Args:
            splits: Which to look for; a split that is missing or has no labels is left out.
            errors: Where to note why a listing cannot be opened.
            required: Splits whose absence is an error.
        """
        for split in self.file_names:
            if split in splits and (path := self._find(split, errors, required=split in required)):
                file = open_text(path, errors, self.directory)
                if file and self.format.has_labels(file):
                    yield Listing(split, file, self.format, self.base)
                elif file and split in required:
                    errors.add_file_error(f"{path}: no labels, in any row; the split {split} needs them")

    def find_ignored(self, read: Collection[Path]) -> list[str]:
        """Files that look like listings and are not in ``read``, relative to the data folder."""
        folders = dict.fromkeys((self.directory, self.listing_folder or self.directory))
        paths = (folder / name for folder in folders for name in list_listings(folder))
        return [str(path.relative_to(self.directory)) for path in paths if path not in read]

    def _find(self, split: Split, errors: RowErrors, *, required: bool) -> Path | None:
        if self.listing_folder is None:
            return None
        names = self.file_names[split]
        found = find_present(self.present, names)
        if not found and split in self.fallbacks:
            found = find_present(self.present, [self.fallbacks[split]])
        if len(found) == 1:
            return self.listing_folder / found[0]
        if found:
            errors.add_file_error(
                f"{self.listing_folder}: {len(found)} files of split {split}, {' and '.join(found)}; keep one"
            )
        elif required:
            errors.add_file_error(self._describe_missing(names))
        return None

    def _describe_missing(self, names: Sequence[str]) -> str:
        known = {name.casefold() for each in self.file_names.values() for name in each}
        others = [name for name in self.present if name.casefold() not in known]
        hint = f"; not read: {', '.join(others)}" if others else ""
        if len(names) == 1:
            return f"{self.listing_folder}/{names[0]}: missing file{hint}"
        return f"{self.listing_folder}: missing file, {' or '.join(names)}{hint}"


@dataclass(frozen=True, kw_only=True)
class LayoutKind:
    """A kind of layout and how to recognise it.

    Attributes:
        name: Its name in errors.
        expected: What a folder in this layout holds, as an error names it.
        find_traces: Returns the names of files and folders that mark this layout, given the folder and its
            ``list_listings``; empty if there are none.
        describe: Returns the layout of a folder with such traces, and notes what is wrong with its folders.
    """

    name: str
    expected: str
    find_traces: Callable[[Path, Sequence[str]], list[str]]
    describe: Callable[[Path, Sequence[str], RowErrors], Layout]


def make_flat_kind(
    *,
    name: str,
    expected: str,
    file_names: Mapping[Split, tuple[str, ...]],
    fallbacks: Mapping[Split, str] | None = None,
    listing_format: ListingFormat,
    image_folder: str | None,
) -> LayoutKind:
    """A kind of layout with all listings in the data folder; for the arguments see ``LayoutKind`` and ``Layout``."""

    def describe(directory: Path, present: Sequence[str], _: RowErrors) -> Layout:
        return Layout(
            directory=directory,
            listing_folder=directory,
            present=present,
            file_names=file_names,
            fallbacks=fallbacks or {},
            format=listing_format,
            base=directory,
            image_folder=image_folder,
        )

    every = (*itertools.chain.from_iterable(file_names.values()), *(fallbacks or {}).values())
    return LayoutKind(
        name=name,
        expected=expected,
        find_traces=lambda _, present: find_present(present, every),
        describe=describe,
    )


def list_listings(folder: Path) -> list[str]:
    """Names in ``folder`` that end like a listing's, sorted; dangling links are included."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.name.lower().endswith(LISTING_ENDINGS))
    except OSError:  # reported when a file in it is read
        return []


def find_present(present: Sequence[str], names: Iterable[str]) -> list[str]:
    """The names in ``present`` that match one of ``names``, in the order of ``names``.

    A name matches in any case if there is no exact match; all that differ only in case are returned.
    """
    return [found for name in names for found in _find_name(present, name)]


def _find_name(present: Sequence[str], name: str) -> list[str]:
    return [name] if name in present else [one for one in present if one.casefold() == name.casefold()]

"""MAMI's layout (Fersini et al., SemEval-2022 task 5) as distributed: tab-separated, pictures beside the listings.

The folder TRAINING has training.csv and its pictures, the folder test has Test.csv and its pictures. The labels of the
test split are in test_labels.txt, without a header: picture, misogynous, and four kinds of misogyny. MAMI has no
validation split; every tenth row of training.csv is used for it, unless there is a validation.csv.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from memes.listing_format import ListingFormat, find_by_word
from memes.listings import Layout, LayoutKind, Listing, find_present, list_listings
from memes.meme import Label
from memes.table import CsvTable, peek_columns
from memes.text_file import TextFile, open_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from memes.meme import RowErrors, Split

FOLDERS: Final[dict[Split, str]] = {"train": "training", "validation": "validation", "test": "test"}
FILE_NAMES: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("training.csv", "train.csv"),
    "validation": ("validation.csv",),
    "test": ("test.csv",),
}
GOLD_LABELS: Final = "test_labels.txt"
VALIDATION_ROWS: Final = 10  # one row of so many in training.csv is for validation
LABELS: Final = {"1": Label.OFFENSIVE, "0": Label.NON_OFFENSIVE}

_LABEL: Final = "misogynous"
_FORMAT: Final = ListingFormat(
    kind="csv",
    image=("file_name",),
    text=("text transcription",),
    label=(_LABEL,),
    find_label=find_by_word(LABELS),
    label_words="1 or 0",
    boundary="the folder of its listing",
    delimiters="\t,",
)


@dataclass(frozen=True, kw_only=True)
class _MamiLayout(Layout):
    """Each split in its own folder, or all in the data folder; pictures are beside their listing."""

    def open_listings(
        self, splits: Collection[Split], errors: RowErrors, *, required: Collection[Split] = ()
    ) -> Iterator[Listing]:
        """See ``Layout.open_listings``; a listing may hold two splits, and labels may be in a file of their own."""
        has_validation = _find_listing(self.directory, "validation") is not None
        for split in self.file_names:
            if split not in splits:
                continue
            part = split if has_validation or split == "test" else "train"
            path = _find_listing(self.directory, part)
            if path is None:
                if split in required:
                    folder = self.directory / FOLDERS[part]
                    errors.add_file_error(f"{folder}: missing file, {' or '.join(self.file_names[part])}")
            elif file := open_text(path, errors, self.directory):
                yield from self._open(split, file, errors, required=split in required, whole=has_validation)

    def find_ignored(self, read: Collection[Path]) -> list[str]:
        """See ``Layout.find_ignored``; looks in every folder of the data folder as well."""
        folders = (self.directory, *(path for path in sorted(self.directory.iterdir()) if path.is_dir()))
        paths = (folder / name for folder in folders for name in list_listings(folder))
        return [str(path.relative_to(self.directory)) for path in paths if path not in read]

    def _open(
        self, split: Split, file: TextFile, errors: RowErrors, *, required: bool, whole: bool
    ) -> Iterator[Listing]:
        base = file.path.parent
        if _LABEL in _peek_columns(file):
            is_part = split != "test" and not whole
            has_row = functools.partial(_is_of_split, split) if is_part else _FORMAT.has_row
            yield Listing(split, file, dataclasses.replace(_FORMAT, has_row=has_row), base)
        elif labels := self._open_gold(file, errors):
            yield Listing(split, file, dataclasses.replace(_FORMAT, label_file=labels), base)
        elif required:
            errors.add_file_error(f"{file.path}: no column {_LABEL!r}, and no {GOLD_LABELS} beside it")

    def _open_gold(self, file: TextFile, errors: RowErrors) -> TextFile | None:
        found = [folder / GOLD_LABELS for folder in (file.path.parent, self.directory)]
        path = next((one for one in found if one.exists()), None)
        return open_text(path, errors, self.directory) if path else None


def _find_listing(directory: Path, split: Split) -> Path | None:
    """The listing of a split, in its own folder (whose name may be in any case) or in the data folder."""
    below = [path for path in sorted(directory.iterdir()) if path.name.casefold() == FOLDERS[split] and path.is_dir()]
    for folder in (*below, directory):
        if found := find_present(list_listings(folder), FILE_NAMES[split]):
            return folder / found[0]
    return None


def _is_of_split(split: Split, row: int) -> bool:
    return (row % VALIDATION_ROWS == 0) is (split == "validation")


def _peek_columns(file: TextFile) -> set[str]:
    return {name.strip().casefold() for name in peek_columns(functools.partial(CsvTable, delimiters="\t,"), file)}


def _find_traces(directory: Path, _: Sequence[str]) -> list[str]:
    """The listings with MAMI's columns."""
    found = []
    for split in FOLDERS:
        if path := _find_listing(directory, split):
            try:
                file = TextFile(path, directory)
            except OSError:  # reported when the file is read
                continue
            if {"file_name", "text transcription"} <= _peek_columns(file):
                found.append(str(path.relative_to(directory)))
    return found


def _describe(directory: Path, present: Sequence[str], _: RowErrors) -> Layout:
    return _MamiLayout(
        directory=directory,
        listing_folder=directory,
        present=present,
        file_names=FILE_NAMES,
        format=_FORMAT,
        base=directory,
        image_folder=None,
    )


KIND: Final = LayoutKind(
    name="MAMI",
    expected="TRAINING/training.csv, test/Test.csv and test_labels.txt",
    find_traces=_find_traces,
    describe=_describe,
)

"""The layout of MAMI (Fersini et al., SemEval-2022 task 5) as it is distributed: tab-separated, pictures beside.

The folder TRAINING holds training.csv and its pictures, the folder test Test.csv and its own. The labels of the test
are in test_labels.txt, without a header: picture, misogynous, and four kinds of misogyny. There is no validation split;
every tenth row of training.csv is taken for it, unless there is a validation.csv.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from memes.csv_listing import CsvFormat
from memes.listings import Layout, LayoutKind, Listing, find_present, list_listings
from memes.meme import Label, RowErrors
from memes.text_file import TextFile, check_text, open_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from memes.meme import Split
    from memes.meme_file import MemeFile

FOLDERS: Final[dict[Split, str]] = {"train": "training", "validation": "validation", "test": "test"}
FILE_NAMES: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("training.csv", "train.csv"),
    "validation": ("validation.csv",),
    "test": ("test.csv",),
}
GOLD_LABELS: Final = "test_labels.txt"
VALIDATION_ROWS: Final = 10  # of so many rows of training.csv one is for validation
LABELS: Final = {"1": Label.OFFENSIVE, "0": Label.NON_OFFENSIVE}

_LABEL: Final = "misogynous"
_FORMAT: Final = CsvFormat(
    columns=(("file_name",), ("text transcription",), (_LABEL,)),
    labels=LABELS,
    boundary="the folder of its listing",
    delimiters="\t,",
)


@dataclass(frozen=True, kw_only=True)
class _PartOfRows:
    """Every tenth row of a listing, or the others."""

    is_validation: bool

    def has_labels(self, file: TextFile) -> bool:
        """Whether the whole listing has."""
        return _FORMAT.has_labels(file)

    def companions(self, file: TextFile) -> Sequence[TextFile]:
        """None."""
        return _FORMAT.companions(file)

    def read_memes(self, file: TextFile, folder: Path, errors: RowErrors) -> MemeFile | None:
        """Scan the whole listing and note what is wrong with the rows of this part."""
        memes = _FORMAT.read_memes(file, folder, _RowErrorsOfPart(errors, self))
        return memes and memes.without({row for _, row in memes.places() if not self.has(row)})

    def has(self, row: int) -> bool:
        """Whether a row is of this part."""
        return (row % VALIDATION_ROWS == 0) is self.is_validation


class _RowErrorsOfPart(RowErrors):
    """Passes on the row errors of a part."""

    def __init__(self, others: RowErrors, part: _PartOfRows) -> None:
        super().__init__()
        self._others, self._part = others, part

    def add_file_error(self, line: str) -> None:
        self._others.add_file_error(line)

    def add(self, path: Path, row: int, fault: str) -> None:
        if self._part.has(row):
            self._others.add(path, row, fault)


@dataclass(frozen=True, kw_only=True)
class _GoldFormat:
    """A listing whose labels stand in a file of their own."""

    labels: TextFile

    def has_labels(self, file: TextFile) -> bool:  # noqa: ARG002
        """They are in the other file."""
        return True

    def companions(self, file: TextFile) -> Sequence[TextFile]:  # noqa: ARG002
        """The labels."""
        return (self.labels,)

    def read_memes(self, file: TextFile, folder: Path, errors: RowErrors) -> MemeFile | None:
        """Scan both files."""
        if not check_text(self.labels, "a picture and its labels a line", errors):
            return None
        gold: dict[str, Label] = {}
        for record in self.labels.records():
            name, _, values = record.data.decode().strip().partition("\t")
            spelled, _, _ = values.partition("\t")
            if name and (label := LABELS.get(spelled.strip())) is not None:
                gold[name.strip()] = label
            elif name:
                errors.add_file_error(
                    f"{self.labels.path}, row {record.row}: unknown label, {spelled!r}; it must be 1 or 0"
                )
        return dataclasses.replace(_FORMAT, gold=gold).read_memes(file, folder, errors)


@dataclass(frozen=True, kw_only=True)
class _MamiLayout(Layout):
    """Each split in a folder of its own, or all in the data folder; pictures beside their listing."""

    def open_listings(
        self, splits: Collection[Split], errors: RowErrors, *, required: Collection[Split] = ()
    ) -> Iterator[Listing]:
        """As ``Layout.open_listings`` does."""
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
        """As ``Layout.find_ignored`` does, in every folder below the data folder."""
        folders = (self.directory, *(path for path in sorted(self.directory.iterdir()) if path.is_dir()))
        paths = (folder / name for folder in folders for name in list_listings(folder))
        return [str(path.relative_to(self.directory)) for path in paths if path not in read]

    def _open(
        self, split: Split, file: TextFile, errors: RowErrors, *, required: bool, whole: bool
    ) -> Iterator[Listing]:
        base = file.path.parent
        if _LABEL in _peek_columns(file):
            in_parts = split != "test" and not whole
            form = _PartOfRows(is_validation=split == "validation") if in_parts else _FORMAT
            yield Listing(split, file, form, base)
        elif labels := self._open_gold(file, errors):
            yield Listing(split, file, _GoldFormat(labels=labels), base)
        elif required:
            errors.add_file_error(f"{file.path}: no column {_LABEL!r}, and no {GOLD_LABELS} beside it")

    def _open_gold(self, file: TextFile, errors: RowErrors) -> TextFile | None:
        found = [folder / GOLD_LABELS for folder in (file.path.parent, self.directory)]
        path = next((one for one in found if one.exists()), None)
        return open_text(path, errors, self.directory) if path else None


def _find_listing(directory: Path, split: Split) -> Path | None:
    """The listing of a split in its folder, whose name may be in any case, or in the data folder."""
    below = [path for path in sorted(directory.iterdir()) if path.name.casefold() == FOLDERS[split] and path.is_dir()]
    for folder in (*below, directory):
        if found := find_present(list_listings(folder), FILE_NAMES[split]):
            return folder / found[0]
    return None


def _peek_columns(file: TextFile) -> list[str]:
    try:
        first = next(iter(file.lines()), "")
    except ValueError:  # said in words by whoever reads the file
        return []
    return [name.strip().strip('"').casefold() for name in first.replace("\t", ",").split(",")]


def _find_traces(directory: Path, _: Sequence[str]) -> list[str]:
    """The listings whose columns are MAMI's."""
    found = []
    for split in FOLDERS:
        if path := _find_listing(directory, split):
            try:
                columns = _peek_columns(TextFile(path, directory))
            except OSError:  # said in words by whoever reads the file
                continue
            if {"file_name", "text transcription"} <= set(columns):
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

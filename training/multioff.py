"""MultiOFF's layout on disk: folders, CSV files, spellings; faults are gathered, not stopped at.

Does not know which splits somebody wants, nor what becomes of the memes.
"""

from __future__ import annotations

import csv
import io
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from memeguard.errors import MemeError
from memeguard.preprocess import decode_image
from training.memes import Label, Meme
from training.pictures import map_pictures

if TYPE_CHECKING:
    from collections.abc import Iterator

CSV_NAMES: Final[dict[str, str]] = {
    "train": "Training_meme_dataset.csv",
    "validation": "Validation_meme_dataset.csv",
    "test": "Testing_meme_dataset.csv",
}
IMAGE_FOLDER: Final = "Labelled Images"
SPLIT_FOLDERS: Final = ("Split Dataset", "Split Datasets")  # both spellings are in circulation
COLUMNS: Final = ("image_name", "sentence", "label")

# Compared in lower case. MultiOFF itself writes "Non-offensiv"; anything that is not listed is refused, not guessed.
LABELS: Final = {
    "offensive": Label.OFFENSIVE,
    "non-offensiv": Label.NON_OFFENSIVE,
    "non-offensive": Label.NON_OFFENSIVE,
}


class _Record(NamedTuple):
    row: int
    fields: list[str]


class MultiOffReader:
    """Reads the CSVs of one folder and gathers what is wrong instead of stopping at the first fault."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._image_folder = directory / IMAGE_FOLDER
        self._pictures: list[tuple[str, Path]] = []  # who names it ("file, row N"), and where it should be
        self.offenders: list[str] = []

    def find_split_folder(self) -> Path | None:
        """The folder of the CSV files, or none, having noted why."""
        found = [self._directory / name for name in SPLIT_FOLDERS if (self._directory / name).is_dir()]
        if len(found) == 1:
            return found[0]
        if not self._directory.is_dir():
            self.offenders.append(f"{self._directory}: no such folder")
        elif found:
            self.offenders.append(f"{self._directory}: two folders of splits, {' and '.join(SPLIT_FOLDERS)}; keep one")
        else:
            self.offenders.append(f"{self._directory}: missing folder, {' or '.join(SPLIT_FOLDERS)}")
        return None

    def read_bytes(self, path: Path) -> bytes | None:
        """A file's content, or none, having noted why."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            self.offenders.append(f"{path}: missing file")
        except OSError as error:
            self.offenders.append(f"{path}: unreadable file, {error.strerror}")
        return None

    def read_csv(self, path: Path) -> list[Meme]:
        """The rows that are fine, in order; the others are noted. Pictures are not looked at yet."""
        records = self._parse_csv(path)
        if not records:
            return []
        header, *rows = records
        if not rows:
            self.offenders.append(f"{path}: no rows below the header")
        columns = self._find_columns(path, header)
        memes: list[Meme] = []
        for record in rows:
            if len(record.fields) != len(header.fields):
                ragged = f"ragged row, {len(record.fields)} fields; the header has {len(header.fields)}"
                self.offenders.append(f"{path}, row {record.row}: {ragged}")
            elif columns:
                image_name, text, label = (record.fields[columns[name]] for name in COLUMNS)
                image_path = self._parse_image_name(image_name, f"{path}, row {record.row}")
                parsed = self._parse_label(label, f"{path}, row {record.row}")
                if image_path is not None and parsed is not None:
                    memes.append(Meme(image_path=image_path, text=text, label=parsed, file=path.name, row=record.row))
        return memes

    def check_pictures(self) -> None:
        """Decode every picture that a CSV read so far names, and note those that cannot be."""
        if not self._image_folder.is_dir():
            if self._directory.is_dir():
                self.offenders.append(f"{self._directory}: missing folder, {IMAGE_FOLDER}")
            return
        faults = map_pictures(_find_fault, [path for _, path in self._pictures], title="Checking pictures")
        for where, path in self._pictures:
            if fault := faults[path]:
                what, why = fault
                self.offenders.append(f"{where}: {what}, {str(path.relative_to(self._image_folder))!r}{why}")

    def _parse_csv(self, path: Path) -> list[_Record]:
        """Return the records that are neither blank nor malformed, the header first."""
        data = self.read_bytes(path)
        if data is None:
            return []
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self.offenders.append(f"{path}: not UTF-8, byte 0x{data[error.start]:02x} at offset {error.start}")
            return []
        if "\0" in text:
            self.offenders.append(f"{path}: NUL byte, at offset {data.index(0)}; the file must be UTF-8 text")
            return []
        if not text.strip():
            self.offenders.append(f"{path}: empty file, expected the columns {', '.join(COLUMNS)}")
        return list(self._parse_records(path, text))

    def _parse_records(self, path: Path, text: str) -> Iterator[_Record]:
        # Strict, for otherwise a quote that never closes swallows the rest of the file as one caption.
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        for row in itertools.count(1):
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:  # the reader carries on with the next line
                self.offenders.append(f"{path}, row {row}: malformed CSV, {error}")
            else:
                if fields:
                    yield _Record(row, fields)

    def _find_columns(self, path: Path, header: _Record) -> dict[str, int]:
        """Map each column to its position; further columns are ignored. Empty if one is missing or there twice."""
        names = [name.strip().casefold() for name in header.fields]
        wrong = [name for name in COLUMNS if names.count(name) != 1]
        for name in wrong:
            what = "repeated column" if name in names else "missing column"
            there = ", ".join(map(repr, names))
            self.offenders.append(f"{path}, row {header.row}: {what}, {name!r}; the header has {there}")
        return {} if wrong else {name: names.index(name) for name in COLUMNS}

    def _parse_image_name(self, spelled: str, where: str) -> Path | None:
        name = spelled.strip()
        if not name:
            self.offenders.append(f"{where}: empty image_name, {spelled!r}")
            return None
        if Path(name).is_absolute() or ".." in name.replace("\\", "/").split("/"):
            self.offenders.append(f"{where}: image_name leaves the folder {IMAGE_FOLDER}, {name!r}")
            return None
        self._pictures.append((where, self._image_folder / name))
        return self._image_folder / name

    def _parse_label(self, spelled: str, where: str) -> Label | None:
        label = LABELS.get(spelled.strip().casefold())
        if label is None:
            self.offenders.append(f"{where}: unknown label, {spelled!r}; it must be one of {', '.join(LABELS)}")
        return label


def _find_fault(path: Path) -> tuple[str, str] | None:
    """Decode a picture for nothing but to see it fail; return what is wrong and the reason, if there is one."""
    try:
        decode_image(path.read_bytes())
    except FileNotFoundError:
        return "missing picture", ""
    except OSError as error:
        return "unreadable picture", f": {error.strerror}"
    except MemeError as error:
        return "unreadable picture", f": {error}"
    return None

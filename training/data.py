"""Read labelled memes from MultiOFF's layout, and refuse the whole folder when anything in it is wrong.

It does not know what becomes of the memes, how captions are tokenised, or how pictures turn into features.
"""

from __future__ import annotations

import csv
import enum
import hashlib
import io
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeVar, get_args

from tqdm import tqdm

from memeguard.errors import MemeError
from memeguard.preprocess import decode_image

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
CSV_NAMES: Final[dict[str, str]] = {
    "train": "Training_meme_dataset.csv",
    "validation": "Validation_meme_dataset.csv",
    "test": "Testing_meme_dataset.csv",
}
IMAGE_FOLDER: Final = "Labelled Images"
SPLIT_FOLDERS: Final = ("Split Dataset", "Split Datasets")  # both spellings are in circulation
COLUMNS: Final = ("image_name", "sentence", "label")

_Result = TypeVar("_Result")


class Label(enum.IntEnum):
    """What a meme is; offensive is the positive class of every metric."""

    NON_OFFENSIVE = 0
    OFFENSIVE = 1


# Compared in lower case. MultiOFF itself writes "Non-offensiv"; anything that is not listed is refused, not guessed.
LABELS: Final = {
    "offensive": Label.OFFENSIVE,
    "non-offensiv": Label.NON_OFFENSIVE,
    "non-offensive": Label.NON_OFFENSIVE,
}


@dataclass(frozen=True, kw_only=True)
class Meme:
    """One labelled meme.

    Attributes:
        image_path: The picture, inside ``Labelled Images``.
        text: The caption exactly as the CSV has it; may be empty.
        label: Offensive or not.
        row: Number of the CSV record, the header being 1, as a spreadsheet shows it: a caption that spans several
            lines is one record, a blank line is one too.
    """

    image_path: Path
    text: str
    label: Label
    row: int


class DataError(Exception):
    """Everything that is wrong with a data folder, one line each, under a line that counts them.

    Attributes:
        offenders: Lines that read ``file, row N: what, value``; the row is left out where it is the file itself.
    """

    def __init__(self, offenders: Sequence[str]) -> None:
        noun = "problem" if len(offenders) == 1 else "problems"
        super().__init__("\n".join([f"{len(offenders)} {noun} in the data:", *offenders]))
        self.offenders = tuple(offenders)


def read_split(directory: Path, split: Split, *, verify_images: bool = True) -> list[Meme]:
    """Read one split in the order of its CSV.

    Args:
        directory: The folder that holds ``Labelled Images`` and ``Split Dataset``.
        split: Which of the three.
        verify_images: Decode every picture in full; without it the pictures need not even be there.

    Raises:
        DataError: Lists all that is wrong with the CSV and, if asked to look, with the pictures.
        ValueError: No such split.
    """
    return _read(directory, _known_splits([split]), others=False, verify_images=verify_images)[split]


def read_splits(directory: Path, *, required: Collection[str] = ("train", "validation")) -> dict[str, list[Meme]]:
    """Read every split that exists, decoding every picture once, so that nothing can fail later.

    Args:
        directory: The folder that holds ``Labelled Images`` and ``Split Dataset``.
        required: Splits whose absence is an error.

    Returns:
        The memes by split, in the order train, validation, test.

    Raises:
        DataError: Lists all that is wrong, over all splits.
        ValueError: ``required`` names no such split.
    """
    return _read(directory, _known_splits(required), others=True, verify_images=True)


def data_hash(directory: Path) -> str:
    """Return the SHA-256, in hex, of the names and bytes of the split CSVs: which rows a figure was measured on.

    Raises:
        DataError: There is no split CSV, or one cannot be read.
    """
    reader = _Reader(directory)
    digest, num_files = hashlib.sha256(), 0
    if folder := reader.find_split_folder():
        for name in CSV_NAMES.values():
            if os.path.lexists(folder / name) and (data := reader.read_bytes(folder / name)) is not None:
                digest.update(f"{name}\0{len(data)}\0".encode() + data)  # the length keeps neighbouring files apart
                num_files += 1
        if not num_files and not reader.offenders:
            reader.offenders.append(f"{folder}: no split, expected one of {', '.join(CSV_NAMES.values())}")
    if reader.offenders:
        raise DataError(reader.offenders)
    return digest.hexdigest()


def map_pictures(function: Callable[[Path], _Result], paths: Iterable[Path], *, title: str) -> dict[Path, _Result]:
    """Apply ``function`` to every distinct path in a few threads, with a progress bar when stderr is a terminal.

    Pillow's decoders release the interpreter lock, so that threads are enough.
    """
    distinct = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        results = pool.map(function, distinct)
        return dict(zip(distinct, tqdm(results, title, total=len(distinct), unit="img", disable=None), strict=True))


class _Record(NamedTuple):
    row: int
    fields: list[str]


class _Reader:
    """Reads the CSVs of one folder and gathers what is wrong instead of stopping at the first fault."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._image_folder = directory / IMAGE_FOLDER
        self._pictures: list[tuple[str, Path]] = []  # who names it ("file, row N"), and where it should be
        self.offenders: list[str] = []

    def find_split_folder(self) -> Path | None:
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
        try:
            return path.read_bytes()
        except FileNotFoundError:
            self.offenders.append(f"{path}: missing file")
        except OSError as error:
            self.offenders.append(f"{path}: unreadable file, {error.strerror}")
        return None

    def read_csv(self, path: Path) -> list[Meme]:
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
                    memes.append(Meme(image_path=image_path, text=text, label=parsed, row=record.row))
        return memes

    def check_pictures(self) -> None:
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


def _known_splits(names: Collection[str]) -> list[Split]:
    for name in names:
        if name not in SPLITS:
            raise ValueError(f"split is {name!r}; it must be one of {', '.join(SPLITS)}")
    return [split for split in SPLITS if split in names]


def _read(directory: Path, required: Collection[str], *, others: bool, verify_images: bool) -> dict[str, list[Meme]]:
    reader = _Reader(directory)
    memes: dict[str, list[Meme]] = {}
    if folder := reader.find_split_folder():
        for split, name in CSV_NAMES.items():
            if split in required or (others and os.path.lexists(folder / name)):
                memes[split] = reader.read_csv(folder / name)
        if not memes:
            reader.offenders.append(f"{folder}: no split, expected one of {', '.join(CSV_NAMES.values())}")
    if verify_images:
        reader.check_pictures()
    if reader.offenders:
        raise DataError(reader.offenders)
    return memes


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

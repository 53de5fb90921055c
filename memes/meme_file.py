"""The memes of one file, each parsed when it is asked for: 21 bytes a meme stay in memory, whatever its caption.

Does not know the file's format: whoever scans the file brings the function that parses one record.
"""

from __future__ import annotations

import operator
import struct
import zlib
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, overload

import numpy as np

from memes.meme import DataError, Label, Meme

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from memes.meme import RowErrors
    from memes.text_file import Record, TextFile

# What is remembered of a meme, packed and as numpy sees it; the checksum is the CRC-32 of the record's bytes.
_PACKED: Final = struct.Struct("<qIIIb")
_ROW: Final = np.dtype([("start", "<i8"), ("length", "<u4"), ("checksum", "<u4"), ("row", "<u4"), ("label", "i1")])
_NO_LABEL: Final = -1


class Entry(NamedTuple):
    """What one record says of a meme.

    Attributes:
        image_name: Its picture, relative to the folder of the pictures; None if the record is wrong about it.
        text: Its caption.
        label: Offensive or not; None if the record is wrong about anything but the picture.
        faults: All that is wrong with the record, ``what, value``.
    """

    image_name: str | None
    text: str
    label: Label | None
    faults: tuple[str, ...] = ()


class MemeFile(Sequence[Meme]):
    """The memes of one file in its order; a slice is such a sequence too. Any number of threads may read it.

    Args:
        file: The file that lists them.
        folder: What its picture names are relative to.
        parse: Reads the bytes of one record; must be picklable for the memes to be.
        index: Where they stand, see ``MemeFileBuilder``.

    Raises:
        DataError: A record is not what it was when the file was scanned; raised on access.
    """

    def __init__(self, file: TextFile, folder: Path, parse: Callable[[bytes], Entry], index: NDArray[np.void]) -> None:
        self._file = file
        self._folder = folder
        self._parse = parse
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, index: int) -> Meme: ...
    @overload
    def __getitem__(self, index: slice) -> MemeFile: ...
    def __getitem__(self, index: int | slice) -> Meme | MemeFile:
        if isinstance(index, slice):
            return MemeFile(self._file, self._folder, self._parse, self._index[index])
        index = operator.index(index)
        image_name, text, _, _ = self._read(index)
        return Meme(
            image_path=self._folder / str(image_name),
            text=text,
            label=Label(self._index["label"][index]),
            file=self._file.path.name,
            row=int(self._index["row"][index]),
            folder=self._file.root,
        )

    @property
    def labels(self) -> NDArray[np.int8]:
        """Labels, int8 [N], 1 = offensive; no record is parsed for them."""
        return np.array(self._index["label"])

    @property
    def path(self) -> Path:
        """The file that lists them."""
        return self._file.path

    def image_paths(self) -> Iterator[Path]:
        """The picture of each."""
        return (self._folder / str(self._read(index).image_name) for index in range(len(self)))

    def places(self) -> Iterator[tuple[Path, int]]:
        """The file that lists each, and its row."""
        return ((self._file.path, int(row)) for row in self._index["row"])

    def without(self, rows: Collection[int]) -> MemeFile:
        """The memes that do not stand in ``rows``."""
        if not rows:
            return self
        kept = np.isin(self._index["row"], list(rows), invert=True)
        return MemeFile(self._file, self._folder, self._parse, self._index[kept])

    def describe_picture(self, path: Path) -> str:
        """A picture's name as its row has it."""
        return repr(str(path.relative_to(self._folder)))

    def _read(self, index: int) -> Entry:
        start, length, checksum, row, _ = self._index[index].item()
        try:
            data = self._file.read(start, length)
        except OSError as error:
            raise DataError([f"{self._file.path}, row {row}: unreadable file, {error.strerror}"]) from error
        if zlib.crc32(data) != checksum:
            raise DataError([f"{self._file.path}, row {row}: changed since the file was checked; read the data anew"])
        return self._parse(data)


class MemeFileBuilder:
    """Remembers where the memes of a file stand while it is scanned, and notes what is wrong with its rows."""

    def __init__(self, file: TextFile, errors: RowErrors) -> None:
        self._file = file
        self._errors = errors
        self._packed = bytearray()

    def add(self, record: Record, entry: Entry) -> None:
        """Remember a record that names a picture, were it only to check the picture, and note its faults."""
        for fault in entry.faults:
            self.note(record.row, fault)
        if entry.image_name is not None:
            label = _NO_LABEL if entry.label is None else entry.label
            checksum = zlib.crc32(record.data)
            self._packed += _PACKED.pack(record.start, len(record.data), checksum, record.row, label)

    def note(self, row: int, fault: str) -> None:
        """Note what is wrong with a row."""
        self._errors.add(self._file.path, row, fault)

    def build(self, folder: Path, parse: Callable[[bytes], Entry]) -> MemeFile:
        """The memes that were added, for the arguments see ``MemeFile``."""
        return MemeFile(self._file, folder, parse, np.frombuffer(self._packed, dtype=_ROW))


def label_array(memes: Sequence[Meme]) -> NDArray[np.int64]:
    """Labels [N], 1 = offensive; of a ``MemeFile`` no record is parsed for them."""
    if isinstance(memes, MemeFile):
        return memes.labels.astype(np.int64)
    return np.array([int(meme.label) for meme in memes], dtype=np.int64)

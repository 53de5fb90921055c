"""Read a CSV that lists memes: header, ragged and malformed rows, spellings of labels; every fault is noted.

Does not know whose layout the CSV belongs to: columns and labels are told.
"""

from __future__ import annotations

import csv
import io
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from training.data.listings import find_name_fault
from training.data.meme_file import Entry, MemeFile, MemeFileBuilder
from training.data.text_file import Record, TextFile, check_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from training.data.memes import Label, Offenders


class _Row(NamedTuple):
    record: Record
    fields: list[str]


@dataclass(frozen=True, kw_only=True)
class CsvFormat:
    """A CSV's columns, in any order among others, and its labels.

    Attributes:
        columns: Names of the picture's, the caption's and the label's column; of several names, one is to be there.
        labels: By spelling in lower case; anything that is not listed is refused, not guessed.
        boundary: What a picture's name may not leave, as an error names it.
    """

    columns: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    labels: Mapping[str, Label]
    boundary: str

    def has_labels(self, file: TextFile) -> bool:  # noqa: ARG002
        """Always true: a file without their column is no such CSV."""
        return True

    def read_memes(self, file: TextFile, folder: Path, offenders: Offenders) -> MemeFile | None:
        """Scan a whole file, see ``ListingFormat``."""
        if not check_text(file, f"the columns {', '.join(names[0] for names in self.columns)}", offenders):
            return None
        builder = MemeFileBuilder(file, offenders)
        rows = _read_rows(file, builder)
        if not (header := next(rows, None)):
            return None
        parser = self._find_columns(header, builder)
        num_rows = 0
        for num_rows, (record, fields) in enumerate(rows, 1):  # noqa: B007
            if len(fields) != len(header.fields):
                builder.note(record.row, f"ragged row, {len(fields)} fields; the header has {len(header.fields)}")
            elif parser:
                builder.add(record, parser.parse(fields))
        if not num_rows:
            offenders.add(f"{file.path}: no rows below the header")
        return builder.build(folder, parser) if parser else None

    def _find_columns(self, header: _Row, builder: MemeFileBuilder) -> CsvParser | None:
        """Find each column's position, or note which is missing or there twice; further columns are ignored."""
        there = [name.strip().casefold() for name in header.fields]
        found = [[name for name in there if name in names] for names in self.columns]
        for names, matches in zip(self.columns, found, strict=True):
            if len(matches) != 1:
                what = "repeated column" if matches else "missing column"
                which = " and ".join(map(repr, dict.fromkeys(matches))) or " or ".join(map(repr, names))
                builder.note(header.record.row, f"{what}, {which}; the header has {', '.join(map(repr, there))}")
        if any(len(matches) != 1 for matches in found):
            return None
        image, text, label = (there.index(name) for (name,) in found)
        return CsvParser(image=image, text=text, label=label, image_column=there[image], format=self)


@dataclass(frozen=True, kw_only=True)
class CsvParser:
    """Parses the records below one header.

    Attributes:
        image: Position of the picture's column.
        text: Position of the caption's.
        label: Position of the label's.
        image_column: Name of the picture's column.
        format: What is right and wrong.
    """

    image: int
    text: int
    label: int
    image_column: str
    format: CsvFormat

    def __call__(self, data: bytes) -> Entry:
        """Parse the bytes of a record."""
        return self.parse(next(csv.reader(io.StringIO(data.decode(), newline=""), strict=True)))

    def parse(self, fields: Sequence[str]) -> Entry:
        """Parse as many fields as the header has."""
        spelled, text, label_spelled = fields[self.image], fields[self.text], fields[self.label]
        name_fault = find_name_fault(spelled, self.image_column, self.format.boundary)
        label = self.format.labels.get(label_spelled.strip().casefold())
        faults = [name_fault] if name_fault else []
        if label is None:
            faults.append(f"unknown label, {label_spelled!r}; it must be one of {', '.join(self.format.labels)}")
        return Entry(None if name_fault else spelled.strip(), text, label, tuple(faults))


def _read_rows(file: TextFile, builder: MemeFileBuilder) -> Iterator[_Row]:
    """Yield the records that are neither blank nor malformed, the header first."""
    taken: list[str] = []  # the lines of the record that is being read

    def take_lines() -> Iterator[str]:
        for line in file.lines():
            taken.append(line)
            yield line

    # Strict, for otherwise a quote that never closes swallows the rest of the file as one caption.
    reader = csv.reader(take_lines(), strict=True)
    start = file.text_start
    for row in itertools.count(1):
        fields: list[str] = []
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # the reader carries on with the next line
            builder.note(row, f"malformed CSV, {error}")
        record = Record(row, start, "".join(taken).encode())
        taken.clear()
        if fields:
            yield _Row(record, fields)
        start += len(record.data)

"""Read a CSV that lists memes: header, ragged and malformed rows, spellings of labels; every fault is noted.

Does not know whose layout the CSV belongs to: columns and labels are told.
"""

from __future__ import annotations

import csv
import io
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from memes.listings import find_name
from memes.meme_file import Entry, MemeFile, MemeFileBuilder
from memes.text_file import Record, TextFile, check_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from memes.meme import Label, RowErrors


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
        delimiters: What may part the fields; the first line tells which does.
        gold: The labels by the pictures' names, where they do not stand in a column.
    """

    columns: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    labels: Mapping[str, Label]
    boundary: str
    delimiters: str = ","
    gold: Mapping[str, Label] | None = None

    def has_labels(self, file: TextFile) -> bool:  # noqa: ARG002
        """Always true: a file without their column is no such CSV."""
        return True

    def companions(self, file: TextFile) -> Sequence[TextFile]:  # noqa: ARG002
        """None."""
        return ()

    def read_memes(self, file: TextFile, folder: Path, errors: RowErrors) -> MemeFile | None:
        """Scan a whole file, see ``ListingFormat``."""
        if not check_text(file, f"the columns {', '.join(names[0] for names in self.columns)}", errors):
            return None
        builder = MemeFileBuilder(file, errors)
        delimiter = self._find_delimiter(file)
        rows = _read_rows(file, delimiter, errors)
        if not (header := next(rows, None)):
            return None
        parser = self._find_columns(file, header, errors, folder=folder, delimiter=delimiter)
        num_rows = 0
        for num_rows, (record, fields) in enumerate(rows, 1):  # noqa: B007
            if len(fields) != len(header.fields):
                builder.note(record.row, f"ragged row, {len(fields)} fields; the header has {len(header.fields)}")
            elif parser:
                builder.add(record, parser.parse(fields))
        if not num_rows:
            errors.add_file_error(f"{file.path}: no rows below the header")
        return builder.build(folder, parser) if parser else None

    def _find_delimiter(self, file: TextFile) -> str:
        """That of ``delimiters`` which parts the first line most often."""
        first = next((line for line in file.lines() if line.strip()), "")
        return max(self.delimiters, key=first.count)

    def _find_columns(
        self, file: TextFile, header: _Row, errors: RowErrors, *, folder: Path, delimiter: str
    ) -> CsvParser | None:
        """Find each column's position, or note which is missing or there twice; further columns are ignored."""
        there = [name.strip().casefold() for name in header.fields]
        wanted = self.columns if self.gold is None else self.columns[:2]
        found = [[name for name in there if name in names] for names in wanted]
        for names, matches in zip(wanted, found, strict=True):
            if len(matches) != 1:
                what = "repeated column" if matches else "missing column"
                which = " and ".join(map(repr, dict.fromkeys(matches))) or " or ".join(map(repr, names))
                there_are = f"the header has {', '.join(map(repr, there))}"
                errors.add_file_error(f"{file.path}, row {header.record.row}: {what}, {which}; {there_are}")
        if any(len(matches) != 1 for matches in found):
            return None
        image, text, *label = (there.index(name) for (name,) in found)
        return CsvParser(
            image=image,
            text=text,
            label=label[0] if label else None,
            image_column=there[image],
            folder=folder,
            delimiter=delimiter,
            format=self,
        )


@dataclass(frozen=True, kw_only=True)
class CsvParser:
    """Parses the records below one header.

    Attributes:
        image: Position of the picture's column.
        text: Position of the caption's.
        label: Position of the label's; None if there is none.
        image_column: Name of the picture's column.
        folder: What the pictures' names are relative to.
        delimiter: What parts the fields.
        format: What is right and wrong.
    """

    image: int
    text: int
    label: int | None
    image_column: str
    folder: Path
    delimiter: str
    format: CsvFormat

    def __call__(self, data: bytes) -> Entry:
        """Parse the bytes of a record."""
        lines = io.StringIO(data.decode(), newline="")
        return self.parse(next(csv.reader(lines, strict=True, delimiter=self.delimiter)))

    def parse(self, fields: Sequence[str]) -> Entry:
        """Parse as many fields as the header has."""
        spelled, text = fields[self.image], fields[self.text]
        name, name_fault = find_name(spelled, self.image_column, self.folder, self.format.boundary)
        label, label_fault = self._find_label(fields, name)
        faults = tuple(fault for fault in (name_fault, label_fault) if fault)
        return Entry(None if name_fault else name, text, label, faults)

    def _find_label(self, fields: Sequence[str], name: str) -> tuple[Label | None, str | None]:
        if self.label is None:
            label = (self.format.gold or {}).get(name)
            return label, None if label is not None else f"no label for {name!r} in the file of labels"
        label = self.format.labels.get((spelled := fields[self.label]).strip().casefold())
        known = ", ".join(self.format.labels)
        return label, None if label is not None else f"unknown label, {spelled!r}; it must be one of {known}"


def _read_rows(file: TextFile, delimiter: str, errors: RowErrors) -> Iterator[_Row]:
    """Yield the records that are neither blank nor malformed, the header first.

    A malformed one is a fault of the file: nobody knows how many memes an open quote has swallowed.
    """
    taken: list[str] = []  # the lines of the record that is being read

    def take_lines() -> Iterator[str]:
        for line in file.lines():
            taken.append(line)
            yield line

    # Strict, for otherwise a quote that never closes swallows the rest of the file as one caption.
    reader = csv.reader(take_lines(), strict=True, delimiter=delimiter)
    start = file.text_start
    for row in itertools.count(1):
        fields: list[str] = []
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # the reader carries on with the next line
            errors.add_file_error(f"{file.path}, row {row}: malformed CSV, {error}")
        record = Record(row, start, "".join(taken).encode())
        taken.clear()
        if fields:
            yield _Row(record, fields)
        start += len(record.data)

"""Turn the rows of a layout's listings into labelled memes, and note what is wrong with each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from memes.meme_table import MemeTableBuilder
from memes.row_parser import RowParser
from memes.table import CsvTable, JsonTable
from memes.text_file import check_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from memes.meme import Label, RowErrors
    from memes.meme_table import MemeTable
    from memes.table import Table
    from memes.text_file import TextFile


@dataclass(frozen=True, kw_only=True)
class ListingFormat:
    """How the rows of a layout's listings are written.

    Attributes:
        kind: A CSV with a header, or JSON lines.
        image: Names that the column of the pictures' names may have. A CSV has exactly one of them, in any case; JSON
            lines have the first.
        text: Names that the column of the captions may have, likewise.
        label: Names that the column of the labels may have, likewise.
        find_label: Returns the label that a value stands for, or None if it stands for none.
        label_words: The values a label may have, as an error names them.
        boundary: The folder that a picture's name may not leave, as an error names it.
        delimiters: What may separate the fields of a CSV.
        label_file: The file that has the labels if the listing has no such column: a line per picture, its name, a tab
            and its label; what follows another tab is ignored.
        has_row: Whether a row belongs to the split, by its number.
    """

    kind: Literal["csv", "jsonl"]
    image: tuple[str, ...]
    text: tuple[str, ...]
    label: tuple[str, ...]
    find_label: Callable[[Any], Label | None]
    label_words: str
    boundary: str
    delimiters: str = ","
    label_file: TextFile | None = None
    has_row: Callable[[int], bool] = lambda _: True

    def has_labels(self, file: TextFile) -> bool:
        """False for JSON lines of which no row has a label, but nothing else is wrong; in a CSV that is an error."""
        if self.kind == "csv":
            return True
        num_rows = 0
        try:
            for num_rows, row in enumerate(JsonTable(file), 1):  # noqa: B007
                if row.fault or self.label[0] in row.values:
                    return True
        except (ValueError, OSError):  # reported when the file is read
            return True
        return not num_rows

    def files(self, file: TextFile) -> Sequence[TextFile]:
        """All files on which the memes of a listing depend, the listing first."""
        return (file, self.label_file) if self.label_file else (file,)

    def read_memes(self, file: TextFile, folder: Path, errors: RowErrors) -> MemeTable | None:
        """Read a whole listing.

        Args:
            file: The listing.
            folder: What its pictures' names are relative to; the pictures are not opened.
            errors: All that is wrong is noted here; the memes are of use only if nothing is.

        Returns:
            Every row that names a picture, or None if the columns cannot be told.
        """
        if not check_text(file, self._describe(), errors):
            return None
        table: Table = CsvTable(file, self.delimiters) if self.kind == "csv" else JsonTable(file)
        parser, builder, num_rows = self._make_parser(table, file, folder, errors), MemeTableBuilder(file), 0
        for num_rows, row in enumerate(table, 1):  # noqa: B007
            if row.hides_rows:  # an error of the file: an open quote may have swallowed any number of memes
                errors.add_file_error(f"{file.path}, row {row.number}: {row.fault}")
            elif not self.has_row(row.number):
                continue
            elif row.fault:
                errors.add(file.path, row.number, row.fault)
            elif parser:
                image, text, label, faults = parser.parse(row.values)
                for fault in faults:
                    errors.add(file.path, row.number, fault)
                if image is not None:
                    builder.add(row.number, image, text, label)
        if not num_rows and table.columns and self.kind == "csv":
            errors.add_file_error(f"{file.path}: no rows below the header")
        return builder.build(folder) if parser else None

    def _describe(self) -> str:
        """What a listing holds, as an error names it."""
        names = ", ".join(column[0] for column in (self.image, self.text, self.label))
        return f"the columns {names}" if self.kind == "csv" else f"a JSON object a line, with {names}"

    def _make_parser(self, table: Table, file: TextFile, folder: Path, errors: RowErrors) -> RowParser | None:
        labels = None
        if self.label_file:
            if not check_text(self.label_file, "a picture and its labels a line", errors):
                return None
            labels = self._read_labels(self.label_file, errors)
        columns = self.image[0], self.text[0], self.label[0]
        if isinstance(table, CsvTable):
            # A CSV without a header has malformed records only.
            found = self._find_columns(table, file, errors) if table.columns else None
            if not found:
                return None
            columns = found
        return RowParser(
            image=columns[0],
            text=columns[1],
            label=columns[2],
            folder=folder,
            boundary=self.boundary,
            find_label=self.find_label,
            label_words=self.label_words,
            labels=labels,
        )

    def _find_columns(self, table: CsvTable, file: TextFile, errors: RowErrors) -> tuple[str, str, str] | None:
        """The columns of image, text and label as the header has them, or None if one is missing or repeated."""
        there = [name.strip().casefold() for name in table.columns]
        found = []
        for names in (self.image, self.text, self.label)[: 2 if self.label_file else 3]:
            matches = [name for name in there if name in names]
            if len(matches) == 1:
                found.append(table.columns[there.index(matches[0])])
                continue
            which = " and ".join(map(repr, dict.fromkeys(matches))) or " or ".join(map(repr, names))
            errors.add_file_error(
                f"{file.path}, row {table.header_row}: {'repeated' if matches else 'missing'} column, {which}; "
                f"the header has {', '.join(map(repr, there))}"
            )
        return (found[0], found[1], found[-1]) if len(found) == (2 if self.label_file else 3) else None

    def _read_labels(self, file: TextFile, errors: RowErrors) -> dict[str, Label]:
        """Labels by picture."""
        labels = {}
        for number, line in enumerate(file.lines(), 1):
            name, spelled, *_ = *line.strip().split("\t"), ""
            if name and (label := self.find_label(spelled)) is not None:
                labels[name.strip()] = label
            elif name:
                errors.add_file_error(
                    f"{file.path}, row {number}: unknown label, {spelled!r}; it must be {self.label_words}"
                )
        return labels


def find_by_word(labels: Mapping[str, Label]) -> Callable[[Any], Label | None]:
    """A ``find_label`` that ignores case and surrounding blanks of the words in ``labels``."""
    return lambda value: labels.get(value.strip().casefold())

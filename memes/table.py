"""Read the rows of a CSV or of JSON lines, for training and for bulk scoring.

Python's own parsers read the rows. pyarrow's are faster, but a stray quote, a repeated key or a ragged row gets past
them, or stops them without the row's number.
"""

from __future__ import annotations

import csv
import itertools
import json
import string
from typing import TYPE_CHECKING, Any, NamedTuple

from memes.row_values import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from memes.text_file import TextFile


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        number: In JSON lines, the number of the line. In a CSV, the number of the record as a spreadsheet shows it: the
            header is 1, a caption that spans several lines is one record, a blank line is one too.
        values: The values by column; none if the row is faulty.
        fault: What is wrong with the row as a whole, ``what, value``; empty if nothing is.
        hides_rows: Whether the fault may have swallowed other rows: a quote is open or out of place.
    """

    number: int
    values: Mapping[str, Any]
    fault: str = ""
    hides_rows: bool = False


class CsvTable:
    """The rows below the header of a CSV; each iteration reads the file again. Blank records are left out.

    Args:
        file: Text that ``check_text`` accepts.
        delimiters: What may separate the fields; the character that is most frequent in the first line does.

    Attributes:
        columns: The names in the header, as they are spelled; none if there is no header.
        header_row: Number of the header's record.

    Raises:
        ValueError: ``check_text`` would not accept the file.
    """

    def __init__(self, file: TextFile, delimiters: str = ",") -> None:
        self._file = file
        first = next((line for line in file.lines() if line.strip()), "")
        self._delimiter = max(delimiters, key=first.count)
        header = next((record for record in self._read_records() if not record.fault), None)
        self.columns: Sequence[str] = header.fields if header else ()
        self.header_row = header.number if header else 0

    def __iter__(self) -> Iterator[Row]:
        num_columns = len(self.columns)
        for number, fields, fault, hides_rows in self._read_records():
            if fault:
                yield Row(number, {}, fault, hides_rows)
            elif number == self.header_row:
                continue
            elif len(fields) != num_columns:
                yield Row(number, {}, f"ragged row, {len(fields)} fields; the header has {num_columns}")
            else:
                yield Row(number, dict(zip(self.columns, fields, strict=True)))

    def _read_records(self) -> Iterator[_Record]:
        line = ""

        def remember_line() -> Iterator[str]:
            nonlocal line
            for line in self._file.lines():  # noqa: UP028 - the name outlives the loop
                yield line

        # Strict, for otherwise a quote that never closes swallows the rest of the file as one caption.
        reader = csv.reader(remember_line(), strict=True, delimiter=self._delimiter)
        has_header, start = False, 0
        for number in itertools.count(1):
            try:
                if fields := next(reader):
                    has_header = True
                    yield _Record(number, fields)
            except StopIteration:
                return
            except csv.Error as error:  # the reader carries on with the next line
                is_too_long = "field limit" in str(error)
                # Of one line with closed quotes, nothing else is lost.
                is_alone = is_too_long and has_header and reader.line_num - start == 1 and line.count('"') % 2 == 0
                limit = f"a field has over {csv.field_size_limit()} characters, the limit"
                yield _Record(number, [], limit if is_too_long else f"malformed CSV, {error}", not is_alone)
            start = reader.line_num


class _Record(NamedTuple):
    number: int
    fields: Sequence[str]
    fault: str = ""
    hides_rows: bool = False


class JsonTable:
    """The rows of JSON lines, an object a line; each iteration reads the file again. Blank lines are left out.

    Args:
        file: Text that ``check_text`` accepts.

    Attributes:
        columns: The keys of the first row that is not faulty; none if there is no such row.

    Raises:
        ValueError: ``check_text`` would not accept the file.
    """

    def __init__(self, file: TextFile) -> None:
        self._file = file
        self.columns: Sequence[str] = next((list(row.values) for row in self if not row.fault), ())

    def __iter__(self) -> Iterator[Row]:
        for number, line in enumerate(self._file.lines(), 1):
            if line.strip(string.whitespace):
                yield _parse_object(number, line.strip("\r\n"))


Table = CsvTable | JsonTable


def peek_columns(open_table: Callable[[TextFile], Table], file: TextFile) -> Sequence[str]:
    """The columns of a file that may be anything; none if it cannot be read as such a table."""
    try:
        return open_table(file).columns
    except (ValueError, OSError):  # reported when the file is read
        return ()


def _parse_object(number: int, line: str) -> Row:
    try:
        values = json.loads(line, object_pairs_hook=_refuse_repeated)
    except json.JSONDecodeError as error:
        hint = r"; a picture's name is written img/0.png, not img\0.png" if "escape" in error.msg else ""
        return Row(number, {}, f"malformed JSON, {error.msg} (character {error.pos + 1}){hint}")
    except (ValueError, RecursionError) as error:  # a repeated key, too many digits, nested too deeply
        return Row(number, {}, f"malformed JSON, {error}")
    if not isinstance(values, dict):
        return Row(number, {}, f"not a JSON object, {show(values)}")
    return Row(number, values)


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"repeated key {key!r}")
        values[key] = value
    return values

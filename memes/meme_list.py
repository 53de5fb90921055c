"""Read a list of memes without labels: a CSV or JSON lines, each row naming a picture and its caption."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memeguard.errors import MemeError, MissingPartError, detached
from memes.meme import DataError, RowErrors
from memes.plain_csv import IMAGE_COLUMNS, TEXT_COLUMNS
from memes.row_values import find_picture_name, find_string_fault
from memes.source import InvalidRowError, Source, SourceMeme
from memes.table import CsvTable, JsonTable
from memes.text_file import check_text, open_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from memes.table import Row, Table
    from memes.text_file import TextFile

_TABLES: Final[dict[str, Callable[[TextFile], Table]]] = {".csv": CsvTable, ".jsonl": JsonTable}
ENDINGS: Final = tuple(_TABLES)
_COLUMNS: Final = {"image": (*IMAGE_COLUMNS, "img"), "text": TEXT_COLUMNS}


def read_list(path: Path, *, images: Path | None, image_column: str | None, text_column: str | None) -> Source:
    """The memes that a file lists, in its order; rows are read again from the open file, none is held in memory.

    Args:
        path: A .csv with a header, or a .jsonl.
        images: The folder that the pictures' names are relative to; the file's folder if not given.
        image_column: The column of the pictures' names; found by its name if not given.
        text_column: The column of the captions; found by its name if not given.

    Raises:
        DataError: The file cannot be read, has no such columns, or a quote hides where its rows begin.
    """
    file, table = _open_table(path)
    columns = (
        _find_column(path, table.columns, "image", image_column),
        _find_column(path, table.columns, "text", text_column),
    )
    digest = hashlib.sha256()
    for block in file.blocks():
        digest.update(block)
    folder = images or path.parent
    return Source(
        kind=path.suffix.lower().removeprefix("."),
        sha256=digest.hexdigest(),
        num_memes=sum(1 for _ in _read_rows(path, table)),
        folder=folder,
        columns=columns,
        memes=lambda: (_make_meme(row, *columns, os.path.abspath(folder)) for row in _read_rows(path, table)),  # noqa: PTH100
    )


def _open_table(path: Path) -> tuple[TextFile, Table]:
    errors = RowErrors()
    file = open_text(path, errors)
    if file is None or not check_text(file, "a list of memes", errors) or errors:
        raise errors.make_error()
    table = _TABLES[path.suffix.lower()](file)
    if all(row.fault for row in _read_rows(path, table)):
        raise DataError([f"{path}: no rows that can be read"])
    if repeated := [name for name in table.columns if table.columns.count(name) > 1]:
        raise DataError([f"{path}: repeated column {repeated[0]!r}"])
    return file, table


def _read_rows(path: Path, table: Table) -> Iterator[Row]:
    for row in table:
        if row.hides_rows:
            raise DataError([f"{path}, row {row.number}: {row.fault}"])
        yield row


def _find_column(path: Path, there: Sequence[str], what: str, asked: str | None) -> str:
    wanted = (asked.strip().casefold(),) if asked is not None else _COLUMNS[what]
    found = [name for name in there if name.strip().casefold() in wanted]
    if len(found) == 1:
        return found[0]
    columns = f"the columns are {', '.join(map(repr, there))}"
    if found:
        problem = f"{' and '.join(map(repr, found))} may each be the {what}'s column; choose one with --{what}-column"
    elif asked is not None:
        raise DataError([f"{path}: no column {asked!r}; {columns}"])
    else:
        problem = f"no column named {' or '.join(map(repr, wanted))}; name the {what}'s with --{what}-column"
    raise DataError([f"{path}: {problem} ({columns})"])


def _make_meme(row: Row, image_column: str, text_column: str, folder: str) -> SourceMeme:
    image = row.values.get(image_column, "")
    name = image if isinstance(image, str) else ""
    try:
        path = _locate_picture(row, image_column, folder)
        return SourceMeme(name, path, folder, _read_text(row, text_column))
    except MemeError as error:
        return SourceMeme(name, "", folder, error=detached(error))


def _locate_picture(row: Row, column: str, folder: str) -> str:
    name, fault = "", row.fault or find_string_fault(row.values, column)
    if not fault:
        name, fault = find_picture_name(row.values[column], column, Path(folder), "the folder of the pictures")
    if fault:
        raise InvalidRowError(f"row {row.number}: {fault}")
    return os.path.join(folder, name)  # noqa: PTH118


def _read_text(row: Row, column: str) -> str:
    if fault := find_string_fault(row.values, column):
        error = MissingPartError if row.values.get(column) is None else InvalidRowError
        raise error(f"row {row.number}: {fault}")
    text: str = row.values[column]
    return text

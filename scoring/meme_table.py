"""Read a list of memes, a CSV or JSON lines, each row naming a picture and its caption.

Does not know how a CSV's or a JSON line's bytes are told apart from others: ``memes.text_file`` does.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memeguard.errors import MemeError, MissingPartError
from memes.listings import find_name
from memes.meme import DataError, RowErrors
from memes.plain_csv import IMAGE_COLUMNS, TEXT_COLUMNS
from memes.text_file import check_text, open_text
from scoring.errors import InvalidRowError, ScoringError
from scoring.meme_source import Item, Source, let_go

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from memes.text_file import TextFile

_COLUMNS: Final = {"image": (*IMAGE_COLUMNS, "img"), "text": TEXT_COLUMNS}


class _Row(NamedTuple):
    """A row of a list: its number, and what it says by column or what is wrong with it."""

    number: int
    values: dict[str, Any]
    fault: str | None = None


def read_table(path: Path, *, images: Path | None, image_column: str | None, text_column: str | None) -> Source:
    """The memes a file lists, in its order.

    Args:
        path: A .csv with a header, or a .jsonl.
        images: What the pictures' names are relative to; the file's folder if not given.
        image_column: Where the picture's name is; found out by its name if not given.
        text_column: Where the caption is, likewise.

    Raises:
        DataError: The file is not there or no text.
        ScoringError: Its rows cannot be told apart, or have no such columns.
    """
    kind = path.suffix.lower().removeprefix(".")
    read_rows = _READERS[kind]
    row_errors = RowErrors()
    file = open_text(path, row_errors)
    sound = file is not None and check_text(file, "a list of memes", row_errors)
    row_errors.raise_any()
    if not file or not sound:
        raise DataError([f"{path}: unreadable file"])
    digest = hashlib.sha256()
    for block in file.blocks():
        digest.update(block)
    columns = _find_columns(path, read_rows(file), image_column, text_column)
    folder = images or path.parent
    return Source(
        kind=kind,
        sha256=digest.hexdigest(),
        num_memes=sum(1 for _ in read_rows(file)),
        folder=folder,
        columns=columns,
        items=lambda: (_make_item(row, columns, os.path.abspath(folder)) for row in read_rows(file)),  # noqa: PTH100
    )


def _find_columns(
    path: Path, rows: Iterator[_Row], image_column: str | None, text_column: str | None
) -> tuple[str, str]:
    """Names of the picture's and the caption's column, as the first sound row has them."""
    first = next((row for row in rows if not row.fault), None)
    if first is None:
        raise ScoringError(f"{path}: no rows that can be read")
    there = list(first.values)
    return (
        _find_column(path, there, "image", image_column),
        _find_column(path, there, "text", text_column),
    )


def _find_column(path: Path, there: Sequence[str], what: str, asked: str | None) -> str:
    wanted = (asked.strip().casefold(),) if asked is not None else _COLUMNS[what]
    found = [name for name in there if name.strip().casefold() in wanted]
    if len(found) == 1:
        return found[0]
    has = f"the columns are {', '.join(map(repr, there))}"
    option = f"--{what}-column"
    if found:
        raise ScoringError(f"{path}: {' and '.join(map(repr, found))} may each be the {what}'s column; choose one "
                           f"with {option} ({has})")  # fmt: skip
    if asked is not None:
        raise ScoringError(f"{path}: no column {asked!r}; {has}")
    raise ScoringError(f"{path}: no column named {' or '.join(map(repr, wanted))}; name the {what}'s with {option} "
                       f"({has})")  # fmt: skip


def _make_item(row: _Row, columns: tuple[str, str], folder: str) -> Item:
    image: object = row.values.get(columns[0], "")
    spelled = image if isinstance(image, str) else ""
    try:
        return Item(spelled, _locate(row, columns[0], folder), folder, _read_text(row, columns[1]))
    except MemeError as error:
        return Item(spelled, "", folder, fault=let_go(error))


def _locate(row: _Row, column: str, folder: str) -> str:
    """Where a row's picture is; an absolute name has to lie in ``folder`` too."""
    if row.fault:
        raise InvalidRowError(f"row {row.number}: {row.fault}")
    name = row.values.get(column)
    if not isinstance(name, str):
        raise InvalidRowError(f"row {row.number}: {column} is no string, {json.dumps(name)}")
    name, fault = find_name(name, column, Path(folder), "the folder of the pictures")
    if fault:
        raise InvalidRowError(f"row {row.number}: {fault}")
    return os.path.join(folder, name)  # noqa: PTH118


def _read_text(row: _Row, column: str) -> str:
    text = row.values.get(column)
    if text is None:
        raise MissingPartError(f"row {row.number}: {column} is missing")
    if not isinstance(text, str):
        raise InvalidRowError(f"row {row.number}: {column} is no string, {json.dumps(text)}")
    return text


def _read_csv(file: TextFile) -> Iterator[_Row]:
    """The rows below the header; blank ones are none.

    Raises:
        ScoringError: A quote is open or out of place, so that nobody knows where the next row begins.
    """
    header: list[str] = []
    for number, fields in _read_records(file):
        if isinstance(fields, str):
            yield _Row(number, {}, fields)
        elif not header:
            header = fields
            if repeated := sorted({name for name in header if header.count(name) > 1}):
                raise ScoringError(f"{file.path}: repeated column {repeated[0]!r}")
        elif len(fields) == len(header):
            yield _Row(number, dict(zip(header, fields, strict=True)))
        elif fields:
            yield _Row(number, {}, f"ragged row, {len(fields)} fields; the header has {len(header)}")


def _read_records(file: TextFile) -> Iterator[tuple[int, list[str] | str]]:
    """The number of every record and its fields, or what is wrong with it alone."""
    num_lines = 0

    def count_lines() -> Iterator[str]:
        nonlocal num_lines
        for line in file.lines():
            num_lines += 1
            yield line

    # Strict, for otherwise a quote that never closes swallows the rest of the file as one caption.
    reader = csv.reader(count_lines(), strict=True)
    for number in itertools.count(1):
        before = num_lines
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if number == 1 or "field larger than" not in str(error) or num_lines - before != 1:
                raise ScoringError(f"{file.path}, row {number}: malformed CSV, {error}") from error
            yield number, f"{error} of characters"


def _read_json_lines(file: TextFile) -> Iterator[_Row]:
    for record in file.records():
        if line := record.data.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield _Row(record.row, {}, f"malformed JSON, {error}")
                continue
            if isinstance(row, dict):
                yield _Row(record.row, row)
            else:
                yield _Row(record.row, {}, f"not a JSON object but a {type(row).__name__}")


_READERS: Final[dict[str, Callable[[TextFile], Iterator[_Row]]]] = {"csv": _read_csv, "jsonl": _read_json_lines}
KINDS: Final = tuple(f".{kind}" for kind in _READERS)

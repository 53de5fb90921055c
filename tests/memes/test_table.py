"""One reader of rows for training and for bulk scoring: both say the same of the same row."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest

from memes.meme import DataError
from memes.meme_list import read_list
from memes.reading import read_split
from memes.table import CsvTable, JsonTable
from memes.text_file import TextFile

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = csv.field_size_limit()
TOO_LONG = f"a field has over {LIMIT} characters, the limit"


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


def read_csv(folder: Path, content: str, delimiters: str = ",") -> CsvTable:
    return CsvTable(TextFile(write(folder, "list.csv", content)), delimiters)


def faults_in_training(path: Path) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_split(path.parent, "train", verify_images=False)
    return [line.partition(".csv, ")[2] or line.partition(".jsonl, ")[2] for line in caught.value.row_errors]


def faults_in_scoring(path: Path) -> list[str]:
    source = read_list(path, images=None, image_column=None, text_column=None)
    return [str(meme.error) for meme in source.memes() if meme.error]


@pytest.mark.parametrize(
    "row",
    [
        "a.png,x",
        ",x,1",
        " ,x,1",
        "../a.png,x,1",
        "/etc/hostname,x,1",
        f"a.png,{'x' * (LIMIT + 1)},1",
        f'a.png,"{"x" * (LIMIT + 1)}",1',
    ],
)
def test_a_faulty_row_of_a_csv_is_the_same_error_for_both(tmp_path: Path, row: str) -> None:
    path = write(tmp_path, "train.csv", f"path,text,label\na.png,x,1\n\n{row}\na.png,x,0\n")
    found, expected = faults_in_training(path), faults_in_scoring(path)
    assert len(found) == 1
    assert found[0].startswith("row 4: ")
    assert [fault.replace("the data folder", "the folder of the pictures") for fault in found] == expected


@pytest.mark.parametrize(
    "row",
    [
        '{"img": "a.png", "text": 5, "label": 1}',
        '{"img": "a.png", "label": 1}',
        '{"img": 7, "text": "x", "label": 1}',
        '{"text": "x", "label": 1}',
        '{"img": "a.png", "text": "x", "label": 1, "img": "b.png"}',
        '{"img": "a.png"',
        "[1, 2]",
        "[" * 100_000,
        '"text"',
    ],
)
def test_a_faulty_row_of_json_lines_is_the_same_error_for_both(tmp_path: Path, row: str) -> None:
    (tmp_path / "img").mkdir()
    good = json.dumps({"img": "a.png", "text": "x", "label": 1})
    path = write(tmp_path, "train.jsonl", f"{good}\n\n{row}\n{good}\n")
    found = faults_in_training(path)
    assert len(found) == 1
    assert found[0].startswith("row 3: ")
    assert found == faults_in_scoring(path)


def test_a_field_over_the_limit_is_told_apart_from_a_quote_that_hides_rows(tmp_path: Path) -> None:
    table = read_csv(tmp_path, f'path,text\na,"{"x" * (LIMIT + 1)}\nb,y\nc,z"\nd,w\n')
    long, *_ = rows = list(table)
    assert (long.number, long.fault, long.hides_rows) == (2, TOO_LONG, True)
    assert rows[-1].values == {"path": "d", "text": "w"}
    (alone, after) = read_csv(tmp_path, f"path,text\na,{'x' * (LIMIT + 1)}\nd,w\n")
    assert (alone.fault, alone.hides_rows, after.number) == (TOO_LONG, False, 3)


def test_a_table_is_read_from_the_start_each_time(tmp_path: Path) -> None:
    table = read_csv(tmp_path, "\ufeff\npath\ttext\na\tx, y\n\nb\t\n", "\t,")
    assert (table.header_row, list(table.columns)) == (2, ["path", "text"])
    next(iter(table))
    assert [(row.number, dict(row.values)) for row in table] == [
        (3, {"path": "a", "text": "x, y"}),
        (5, {"path": "b", "text": ""}),
    ]
    lines = JsonTable(TextFile(write(tmp_path, "list.jsonl", '\ufeff[]\r\n \r\n{"a": "\u2028"}')))
    assert list(lines.columns) == ["a"]
    for _ in range(2):
        assert [(row.number, dict(row.values), row.fault) for row in lines] == [
            (1, {}, "not a JSON object, []"),
            (3, {"a": "\u2028"}, ""),
        ]


def test_a_value_is_shown_however_deep_it_is(tmp_path: Path) -> None:
    """Python gives up on deep JSON when it reads it or, a little earlier or later, when it writes it."""
    (tmp_path / "img").mkdir()
    for depth in range(900, 1010):
        row = f'{{"img": {"[" * depth}{"]" * depth}, "text": "x", "label": 1}}'
        path = write(tmp_path, "train.jsonl", f'{{"img": "a.png", "text": "x", "label": 1}}\n{row}\n')
        assert len(faults_in_training(path)) == len(faults_in_scoring(path)) == 1

"""Write the rows of a CSV into a Parquet file, a row group at a time."""

from __future__ import annotations

import csv
import itertools
import json
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyarrow import parquet

from scoring.output_row import COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

_ROWS_PER_GROUP: Final = 65_536
_NUMBERS: Final = ("probability", "logit")


def write_parquet(rows: Path, path: Path, metadata: dict[str, Any]) -> None:
    """Write the rows of a CSV to ``path``; an empty field becomes null, except a picture's name.

    The same rows and the same version of pyarrow give the same bytes.
    """
    schema = pa.schema(
        [pa.field(name, pa.float64() if name in _NUMBERS else pa.string()) for name in COLUMNS],
        metadata={"memeguard": json.dumps(metadata)},
    )
    with rows.open(encoding="utf-8", newline="") as file, parquet.ParquetWriter(path, schema) as writer:
        lines = csv.reader(file)
        next(lines)
        while group := list(itertools.islice(lines, _ROWS_PER_GROUP)):
            columns = zip(COLUMNS, zip(*group, strict=True), strict=True)
            writer.write_table(pa.table([_read_column(name, values) for name, values in columns], schema=schema))


def _read_column(name: str, values: tuple[str, ...]) -> list[Any]:
    if name in _NUMBERS:
        return [float(value) if value else None for value in values]
    return [value if value or name == "image" else None for value in values]

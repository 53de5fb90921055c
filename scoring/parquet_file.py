"""Turn finished rows of CSV into a Parquet file, a row group at a time. Does not know what the rows say."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import json
from typing import TYPE_CHECKING, Any, Final

from scoring.errors import ScoringError
from scoring.verdict_row import COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

_ROWS_PER_GROUP: Final = 65_536
_NUMBERS: Final = ("probability", "logit")


def require_pyarrow() -> None:
    """Raise ``ScoringError`` if Parquet cannot be written here; better now than at the end."""
    if importlib.util.find_spec("pyarrow") is None:
        raise ScoringError("Parquet needs pyarrow; pip install 'memeguard[scoring]', or write a .csv")


def write_parquet(rows: Path, path: Path, metadata: dict[str, Any]) -> None:
    """Write the rows of a CSV to ``path``; an empty field is null, but for a picture's name.

    The same rows and the same pyarrow give the same bytes.
    """
    import pyarrow as pa  # noqa: PLC0415 - an optional dependency
    from pyarrow import parquet  # noqa: PLC0415

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

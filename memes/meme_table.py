"""The labelled memes of one file, held in memory as columns."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np
import pyarrow as pa

from memes.meme import Label, Meme

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from memes.text_file import TextFile

_SCHEMA: Final = pa.schema(
    [("image", pa.large_string()), ("text", pa.large_string()), ("label", pa.int8()), ("row", pa.uint32())]
)
_NO_LABEL: Final = -1
_ROWS_AT_ONCE: Final = 4096  # as Python objects, before they become columns or after


class MemeTable(Sequence[Meme]):
    """The memes of one file in its order; a slice of it is one too. Any number of threads may read it.

    A meme takes about as much memory as its caption and its picture's name have bytes, and 21 bytes more.

    Args:
        path: The file that listed them.
        folder: What the pictures' names are relative to.
        root: The data folder, which no link may leave.
        columns: image, text, label and row, see ``MemeTableBuilder``.
    """

    def __init__(self, path: Path, folder: Path, root: Path | None, columns: pa.Table) -> None:
        self.path = path
        self._folder, self._root, self._columns = folder, root, columns

    def __len__(self) -> int:
        return int(self._columns.num_rows)

    @overload
    def __getitem__(self, index: int) -> Meme: ...
    @overload
    def __getitem__(self, index: slice) -> MemeTable: ...
    def __getitem__(self, index: int | slice) -> Meme | MemeTable:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._with(self._columns.slice(start, max(0, stop - start)))
            return self._with(self._columns.take(pa.array(range(start, stop, step), pa.int64())))
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} memes")
        return self._make_meme(*(column[index % len(self)].as_py() for column in self._columns.columns))

    def __iter__(self) -> Iterator[Meme]:
        for batch in self._columns.to_batches(_ROWS_AT_ONCE):
            yield from map(self._make_meme, *(column.to_pylist() for column in batch.columns))

    @property
    def labels(self) -> NDArray[np.int8]:
        """Labels, int8 [N], 1 = offensive."""
        return np.array(self._columns["label"].to_numpy())

    @property
    def rows(self) -> NDArray[np.uint32]:
        """Row numbers in the file, uint32 [N]."""
        return np.array(self._columns["row"].to_numpy())

    def image_names(self) -> Iterator[str]:
        """The name of each picture as its row has it, without the blanks around it."""
        for batch in self._columns.select(["image"]).to_batches(_ROWS_AT_ONCE):
            yield from batch.column(0).to_pylist()

    def image_paths(self) -> Iterator[Path]:
        """The path of each picture."""
        return (self._folder / name for name in self.image_names())

    def without(self, rows: Collection[int]) -> MemeTable:
        """The memes whose row numbers are not in ``rows``."""
        return self._with(self._columns.filter(pa.array(~np.isin(self.rows, list(rows))))) if rows else self

    def _with(self, columns: pa.Table) -> MemeTable:
        return MemeTable(self.path, self._folder, self._root, columns)

    def _make_meme(self, image: str, text: str, label: int, row: int) -> Meme:
        return Meme(
            image_path=self._folder / image,
            text=text,
            label=Label(label),
            file=self.path.name,
            row=row,
            folder=self._root,
        )


class MemeTableBuilder:
    """Collects the memes of a file row by row; Python objects are held of the last few thousand rows only.

    Args:
        file: The file that lists them.
    """

    def __init__(self, file: TextFile) -> None:
        self._file = file
        self._batches: list[pa.RecordBatch] = []
        self._pending: list[tuple[Any, ...]] = []

    def add(self, row: int, image: str, text: str, label: Label | None) -> None:
        """Add a row. One without a label is never read as a meme: its picture is checked and the file is refused."""
        self._pending.append((image, text, _NO_LABEL if label is None else label, row))
        if len(self._pending) >= _ROWS_AT_ONCE:
            self._flush()

    def build(self, folder: Path) -> MemeTable:
        """All memes that were added; their pictures' names are relative to ``folder``."""
        self._flush()
        return MemeTable(self._file.path, folder, self._file.root, pa.Table.from_batches(self._batches, _SCHEMA))

    def _flush(self) -> None:
        if self._pending:
            columns = zip(*self._pending, strict=True)
            pool = pa.system_memory_pool()  # Arrow's own keeps two thirds more than many small batches need
            arrays = [
                pa.array(values, field.type, memory_pool=pool) for values, field in zip(columns, _SCHEMA, strict=True)
            ]
            self._batches.append(pa.record_batch(arrays, schema=_SCHEMA))
            self._pending.clear()


def label_array(memes: Sequence[Meme]) -> NDArray[np.int64]:
    """Labels, int64 [N], 1 = offensive."""
    if isinstance(memes, MemeTable):
        return memes.labels.astype(np.int64)
    return np.array([int(meme.label) for meme in memes], dtype=np.int64)

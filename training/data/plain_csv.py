"""The layout of plain CSVs: train.csv and its siblings in the data folder, pictures anywhere below it.

Does not know how a CSV is read, nor which splits somebody wants.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from training.data.csv_listing import CsvFormat
from training.data.listings import Layout, LayoutKind, find_present
from training.data.memes import Label
from training.data.multioff import LABELS

if TYPE_CHECKING:
    from pathlib import Path

    from training.data.memes import Offenders, Split

FILE_NAMES: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("train.csv",),
    "validation": ("validation.csv", "val.csv", "dev.csv"),
    "test": ("test.csv",),
}
IMAGE_COLUMNS: Final = ("path", "image_path", "image_name", "image")
TEXT_COLUMNS: Final = ("text", "sentence", "caption")
LABEL_COLUMN: Final = "label"

_FORMAT: Final = CsvFormat(
    columns=(IMAGE_COLUMNS, TEXT_COLUMNS, (LABEL_COLUMN,)),
    labels=LABELS | {"1": Label.OFFENSIVE, "0": Label.NON_OFFENSIVE},
    boundary="the data folder",
)


def _find_traces(directory: Path) -> list[str]:
    """The CSVs of splits that ``directory`` has."""
    return find_present(directory, itertools.chain.from_iterable(FILE_NAMES.values()))


def _describe(directory: Path, _: Offenders) -> Layout:
    """Describe ``directory``."""
    return Layout(
        directory=directory,
        listing_folder=directory,
        file_names=FILE_NAMES,
        format=_FORMAT,
        base=directory,
        image_folder=None,
    )


KIND: Final = LayoutKind(
    name="plain CSV",
    expected="train.csv, validation.csv and test.csv",
    find_traces=_find_traces,
    describe=_describe,
)

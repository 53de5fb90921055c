"""The layout of plain CSVs: train.csv and its siblings in the data folder, pictures anywhere below it.

Does not know how a CSV is read, nor which splits somebody wants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memes.csv_listing import CsvFormat
from memes.listings import make_flat_kind
from memes.meme import Label
from memes.multioff import LABELS

if TYPE_CHECKING:
    from memes.meme import Split

FILE_NAMES: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("train.csv",),
    "validation": ("validation.csv", "val.csv", "dev.csv"),
    "test": ("test.csv",),
}
IMAGE_COLUMNS: Final = ("path", "image_path", "image_name", "image")
TEXT_COLUMNS: Final = ("text", "sentence", "caption")
LABEL_COLUMN: Final = "label"

KIND: Final = make_flat_kind(
    name="plain CSV",
    expected="train.csv, validation.csv and test.csv",
    file_names=FILE_NAMES,
    listing_format=CsvFormat(
        columns=(IMAGE_COLUMNS, TEXT_COLUMNS, (LABEL_COLUMN,)),
        labels=LABELS | {"1": Label.OFFENSIVE, "0": Label.NON_OFFENSIVE},
        boundary="the data folder",
    ),
    image_folder=None,
)

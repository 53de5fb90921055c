"""The layout of plain CSVs: train.csv, validation.csv and test.csv in the data folder, pictures anywhere below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memes.listing_format import ListingFormat, find_by_word
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
_LABELS: Final = LABELS | {"1": Label.OFFENSIVE, "0": Label.NON_OFFENSIVE}

KIND: Final = make_flat_kind(
    name="plain CSV",
    expected="train.csv, validation.csv and test.csv",
    file_names=FILE_NAMES,
    listing_format=ListingFormat(
        kind="csv",
        image=IMAGE_COLUMNS,
        text=TEXT_COLUMNS,
        label=(LABEL_COLUMN,),
        find_label=find_by_word(_LABELS),
        label_words=f"one of {', '.join(_LABELS)}",
        boundary="the data folder",
    ),
    image_folder=None,
)

"""MultiOFF's layout (Suryawanshi et al. 2020): its folders, the names of its CSVs, columns and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memes.listing_format import ListingFormat, find_by_word
from memes.listings import Layout, LayoutKind, list_listings
from memes.meme import SPLITS, Label

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from memes.meme import RowErrors

CSV_NAMES: Final[dict[str, str]] = {
    "train": "Training_meme_dataset.csv",
    "validation": "Validation_meme_dataset.csv",
    "test": "Testing_meme_dataset.csv",
}
IMAGE_FOLDER: Final = "Labelled Images"
SPLIT_FOLDERS: Final = ("Split Dataset", "Split Datasets")  # both spellings are in circulation
COLUMNS: Final = ("image_name", "sentence", "label")

# In lower case. MultiOFF itself writes "Non-offensiv". Any other label is an error; none is guessed.
LABELS: Final = {
    "offensive": Label.OFFENSIVE,
    "non-offensiv": Label.NON_OFFENSIVE,
    "non-offensive": Label.NON_OFFENSIVE,
}

_FORMAT: Final = ListingFormat(
    kind="csv",
    image=COLUMNS[:1],
    text=COLUMNS[1:2],
    label=COLUMNS[2:],
    find_label=find_by_word(LABELS),
    label_words=f"one of {', '.join(LABELS)}",
    boundary=f"the folder {IMAGE_FOLDER}",
)


def _find_traces(directory: Path, _: Sequence[str]) -> list[str]:
    """The folders of splits in ``directory``."""
    return [name for name in SPLIT_FOLDERS if (directory / name).is_dir()]


def _describe(directory: Path, present: Sequence[str], errors: RowErrors) -> Layout:
    """The layout of ``directory``; notes what is wrong with the folders of splits."""
    found = _find_traces(directory, present)
    if len(found) > 1:
        errors.add_file_error(f"{directory}: two folders of splits, {' and '.join(found)}; keep one")
    elif not found:
        errors.add_file_error(f"{directory}: missing folder, {' or '.join(SPLIT_FOLDERS)}")
    folder = directory / found[0] if len(found) == 1 else None
    return Layout(
        directory=directory,
        listing_folder=folder,
        present=list_listings(folder) if folder else [],
        file_names={split: (CSV_NAMES[split],) for split in SPLITS},
        format=_FORMAT,
        base=directory / IMAGE_FOLDER,
        image_folder=IMAGE_FOLDER,
    )


KIND: Final = LayoutKind(
    name="MultiOFF",
    expected=f"{IMAGE_FOLDER} and {SPLIT_FOLDERS[0]}",
    find_traces=_find_traces,
    describe=_describe,
)

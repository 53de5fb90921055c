"""HarMeme's layout (Pramanick et al. 2021) as distributed: JSON lines in annotations, pictures in images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memes.listing_format import ListingFormat
from memes.listings import Layout, LayoutKind, find_present, list_listings
from memes.meme import Label
from memes.table import JsonTable, peek_columns
from memes.text_file import TextFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from memes.meme import RowErrors, Split

# The second edition appends _v1.
FILE_NAMES: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("train.jsonl", "train_v1.jsonl"),
    "validation": ("val.jsonl", "val_v1.jsonl"),
    "test": ("test.jsonl", "test_v1.jsonl"),
}
LISTING_FOLDER: Final = "annotations"
IMAGE_FOLDER: Final = "images"
# A row has a list: one of these severities, and words for whom the meme harms.
LABELS: Final = {
    "not harmful": Label.NON_OFFENSIVE,
    "somewhat harmful": Label.OFFENSIVE,
    "very harmful": Label.OFFENSIVE,
}
_EVERY: Final = tuple(name for names in FILE_NAMES.values() for name in names)


def find_label(value: Any) -> Label | None:  # noqa: ANN401 - whatever JSON holds
    """The label of the one severity in a list such as ``["very harmful", "individual"]``."""
    if not isinstance(value, list):
        return None
    severities = [LABELS[word] for word in value if isinstance(word, str) and word in LABELS]
    return severities[0] if len(severities) == 1 else None


_FORMAT: Final = ListingFormat(
    kind="jsonl",
    image=("image",),
    text=("text",),
    label=("labels",),
    find_label=find_label,
    label_words=f"a list with one of {', '.join(LABELS)}",
    boundary=f"the folder {IMAGE_FOLDER}",
)


def _find_traces(directory: Path, present: Sequence[str]) -> list[str]:
    """The listings in the folder ``annotations``, or in the data folder if their keys are HarMeme's."""
    below = find_present(list_listings(directory / LISTING_FOLDER), _EVERY)
    if below:
        return [f"{LISTING_FOLDER}/{name}" for name in below]
    found = find_present(present, _EVERY)
    return found if any(_has_its_keys(directory, name) for name in found) else []


def _has_its_keys(directory: Path, name: str) -> bool:
    try:
        file = TextFile(directory / name, directory)
    except OSError:  # reported when the file is read
        return False
    return {"image", "labels"} <= set(peek_columns(JsonTable, file))


def _describe(directory: Path, present: Sequence[str], _: RowErrors) -> Layout:
    below = list_listings(directory / LISTING_FOLDER)
    is_below = bool(find_present(below, _EVERY))
    return Layout(
        directory=directory,
        listing_folder=directory / LISTING_FOLDER if is_below else directory,
        present=below if is_below else present,
        file_names=FILE_NAMES,
        format=_FORMAT,
        base=directory / IMAGE_FOLDER,
        image_folder=IMAGE_FOLDER,
    )


KIND: Final = LayoutKind(
    name="HarMeme",
    expected=f"{IMAGE_FOLDER} and {LISTING_FOLDER}/train.jsonl, val.jsonl and test.jsonl",
    find_traces=_find_traces,
    describe=_describe,
)

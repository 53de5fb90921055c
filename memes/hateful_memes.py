"""The Hateful Memes challenge's layout (Kiela et al. 2020): JSON lines beside the folder img; 1 is hateful."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memes.listing_format import ListingFormat
from memes.listings import make_flat_kind
from memes.meme import Label

if TYPE_CHECKING:
    from memes.meme import Split

# The challenge's second phase renamed dev and test to dev_seen and test_seen.
FILE_NAMES: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("train.jsonl",),
    "validation": ("dev.jsonl", "dev_seen.jsonl"),
    "test": ("test.jsonl", "test_seen.jsonl"),
}
# It added these; most memes of dev_unseen are in dev_seen too. They are read if the seen ones are missing.
FALLBACKS: Final[dict[Split, str]] = {"validation": "dev_unseen.jsonl", "test": "test_unseen.jsonl"}
IMAGE_FOLDER: Final = "img"


def find_label(value: Any) -> Label | None:  # noqa: ANN401 - whatever JSON holds
    """The label of 1 or 0; None for True and 1.0, which equal 1 in Python."""
    return Label(value) if type(value) is int and value in {0, 1} else None


KIND: Final = make_flat_kind(
    name="Hateful Memes",
    expected=f"{IMAGE_FOLDER}, train.jsonl, dev.jsonl and test.jsonl",
    file_names=FILE_NAMES,
    fallbacks=FALLBACKS,
    listing_format=ListingFormat(
        kind="jsonl",
        image=("img",),
        text=("text",),
        label=("label",),
        find_label=find_label,
        label_words="0 or 1",
        boundary="the data folder",
    ),
    image_folder=IMAGE_FOLDER,
)

"""Slice a split by what may make memes hard or too easy: caption length, picture size, near-duplicates in train."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from PIL import Image

from memeguard.regular_file import MAX_PICTURE_BYTES, open_regular
from memes.duplicates import group_near, hash_picture, normalize_text
from memes.pictures import map_pictures, stream_pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from memes.meme import Meme

# Name and lowest value of each slice, in rising order; CLIP reads 75 tokens at once, besides two special ones.
_TOKEN_SLICES: Final = (("none", 0), ("1-20 tokens", 1), ("21-75 tokens", 21), ("over 75 tokens", 76))
_SIDE_SLICES: Final = (("up to 224 px", 0), ("225-448 px", 225), ("449-1024 px", 449), ("over 1024 px", 1025))


class Slice(NamedTuple):
    """Some memes of a split: by what they were selected, their name, and which they are (bool [N])."""

    aspect: str
    name: str
    rows: NDArray[np.bool_]


def slice_memes(memes: Sequence[Meme], count_tokens: Callable[[str], int], seen: NDArray[np.bool_]) -> list[Slice]:
    """Every slice of ``memes`` that is not empty.

    Args:
        memes: N memes of one split.
        count_tokens: Counts the tokens of a caption, without the special ones.
        seen: bool [N], whether a meme has a near-duplicate in train; see ``find_seen``.
    """
    # A caption of blanks has no tokens.
    tokens = np.array([count_tokens(meme.text) for meme in memes])
    sides = map_pictures(_longest_side, [meme.image_path for meme in memes], title="measure pictures")
    slices = [
        *_cut("caption length", tokens, _TOKEN_SLICES),
        *_cut("longest side of the picture", np.array([sides[meme.image_path] for meme in memes]), _SIDE_SLICES),
        Slice("copies in train", "without them", ~seen),
        Slice("copies in train", "them alone", seen),
    ]
    return [one for one in slices if one.rows.any()]


def find_seen(memes: Sequence[Meme], train: Sequence[Meme]) -> NDArray[np.bool_]:
    """Find which of ``memes`` (bool [N]) have nearly the same picture, or the same words, as a meme of ``train``.

    Pictures are compared by perceptual hash, captions by ``duplicates.normalize_text``. Empty captions do not count.
    """
    paths = (meme.image_path for meme in itertools.chain(memes, train))
    title, total = "look for copies in train", len(memes) + len(train)
    hashes = list(stream_pictures(hash_picture, paths, title=title, total=total))
    leaders = group_near(hashes)
    pictures = {leaders[one] for one in hashes[len(memes) :]}
    texts = {normalize_text(meme.text) for meme in train} - {""}
    return np.array(
        [
            leaders[one] in pictures or normalize_text(meme.text) in texts
            for one, meme in zip(hashes[: len(memes)], memes, strict=True)
        ]
    )


def _cut(aspect: str, values: NDArray[np.int64], slices: Sequence[tuple[str, int]]) -> list[Slice]:
    index = np.searchsorted([least for _, least in slices], values, side="right") - 1
    return [Slice(aspect, name, index == number) for number, (name, _) in enumerate(slices)]


def _longest_side(path: Path) -> int:
    with os.fdopen(open_regular(path, max_bytes=MAX_PICTURE_BYTES), "rb") as file, Image.open(file) as image:
        # Only the header is read.
        return max(image.size)

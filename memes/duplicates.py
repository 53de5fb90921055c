"""Find memes whose pictures, captions or both are the same or nearly the same."""

from __future__ import annotations

import functools
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import imagehash
import numpy as np

from memeguard.preprocess import decode_image
from memeguard.regular_file import read_picture
from memes.pictures import CHECKED_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from pathlib import Path

    from memes.meme import Meme

HASH_SIZE: Final = 16  # side of the perceptual hash, which has 256 bits
# Bits in which hashes of nearly the same picture may differ. A picture saved again differs in at most 8 bits, unrelated
# pictures in about 128; among real memes hardly any pair differs in 8 to 20.
MAX_DISTANCE: Final = 8
_PAIRS_AT_ONCE: Final = 2**23  # compared at once, 4 bytes each


@dataclass(frozen=True, kw_only=True)
class Occurrence:
    """Where one of several equal memes is listed."""

    split: str
    file: str
    row: int
    image_name: str
    label: str


@dataclass(frozen=True, kw_only=True)
class DuplicateGroup:
    """Memes whose keys are equal.

    Attributes:
        occurrences: Two or more, in the order of the files.
        within_split: Whether a split holds two of them.
        across_splits: Whether two splits hold some of them.
        conflicting: Whether their labels differ.
    """

    occurrences: tuple[Occurrence, ...]
    within_split: bool
    across_splits: bool
    conflicting: bool


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """All groups of memes with equal keys; a group may be both within a split and across splits."""

    num_groups: int
    num_within_split: int
    num_across_splits: int
    num_conflicting: int
    groups: tuple[DuplicateGroup, ...]


def find_duplicates(find_row: Callable[[int], tuple[str, Meme]], keys: Iterable[Hashable]) -> Duplicates:
    """Group the memes whose keys are equal; a key of None equals no other.

    Args:
        find_row: Returns split and meme of an index into ``keys``; called for members of groups only.
        keys: A key for each meme.
    """
    indices_by_key: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        if key is not None:
            indices_by_key[key].append(index)
    groups = tuple(
        _make_group([find_row(index) for index in members]) for members in indices_by_key.values() if len(members) > 1
    )
    return Duplicates(
        num_groups=len(groups),
        num_within_split=sum(group.within_split for group in groups),
        num_across_splits=sum(group.across_splits for group in groups),
        num_conflicting=sum(group.conflicting for group in groups),
        groups=groups,
    )


def _make_group(members: Sequence[tuple[str, Meme]]) -> DuplicateGroup:
    num_splits = len({split for split, _ in members})
    return DuplicateGroup(
        occurrences=tuple(
            Occurrence(
                split=split,
                file=meme.file,
                row=meme.row,
                image_name=meme.image_path.name,
                label=meme.label.word,
            )
            for split, meme in members
        ),
        within_split=num_splits < len(members),
        across_splits=num_splits > 1,
        conflicting=len({meme.label for _, meme in members}) > 1,
    )


def hash_picture(path: Path) -> bytes:
    """The perceptual hash (pHash, Zauner 2010) of a picture, HASH_SIZE * HASH_SIZE bits; equal for equal files."""
    picture = decode_image(read_picture(path), wanted_size=CHECKED_SIZE)
    return np.packbits(imagehash.phash(picture, hash_size=HASH_SIZE).hash).tobytes()


def group_near(hashes: Iterable[bytes]) -> dict[bytes, bytes]:
    """Map every hash to the first one of its group: hashes at most MAX_DISTANCE bits apart, chains included.

    Args:
        hashes: Bit strings of HASH_SIZE * HASH_SIZE bits.
    """
    distinct = list(dict.fromkeys(hashes))
    leaders = {one: one for one in distinct}
    bits_NK = np.unpackbits(np.frombuffer(b"".join(distinct), np.uint8).reshape(-1, HASH_SIZE**2 // 8), axis=1)
    signs_NK = bits_NK.astype(np.float32) * 2 - 1  # the dot product of signs is the bits less twice the distance
    num_rows = max(1, _PAIRS_AT_ONCE // max(1, len(distinct)))
    for start in range(0, len(distinct), num_rows):
        dots_MN = signs_NK[start : start + num_rows] @ signs_NK.T
        for one, other in np.argwhere(dots_MN >= signs_NK.shape[1] - 2 * MAX_DISTANCE):
            first, second = (_find_leader(leaders, distinct[index]) for index in (start + one, other))
            leaders[second] = first
    return {one: _find_leader(leaders, one) for one in distinct}


def normalize_text(text: str) -> str:
    """Normalize a caption for comparison: case-folded letters, marks, digits and emoji, one blank between words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(char if _carries_meaning(char) else " " for char in folded).split())


def _find_leader(leaders: dict[bytes, bytes], one: bytes) -> bytes:
    while leaders[one] != one:
        one = leaders[one]
    return one


@functools.cache
def _carries_meaning(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] in "LMN" or category == "So"

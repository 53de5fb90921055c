"""Say what a data folder holds: how many rows, how long the captions, and which memes occur more than once.

It does not know which tokenizer counts for it, and it never repeats a caption: files and rows name the memes.
"""

from __future__ import annotations

import functools
import unicodedata
from collections import defaultdict
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Final

import imagehash
import numpy as np

from memeguard.preprocess import decode_image
from training.data import CSV_NAMES, Label, Meme, data_hash, map_pictures, read_splits

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from pathlib import Path

MAX_TOKENS: Final = 77  # CLIP's text window, the start and end token included
HASH_SIZE: Final = 16  # a side of the perceptual hash: 256 bits
# Bits in which hashes of nearly the same picture may differ. Pictures saved anew lie within 8; between 8 and 20 there
# is next to nothing in real memes, unrelated pictures differ in about 128.
MAX_DISTANCE: Final = 8
_HASHES_AT_ONCE: Final = 1024  # compared with all others, 4 bytes a pair
_SHOWN_GROUPS: Final = 3
_SHOWN_ROWS: Final = 4
_LABEL_NAMES: Final = {Label.NON_OFFENSIVE: "non-offensive", Label.OFFENSIVE: "offensive"}


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """What one split holds.

    Attributes:
        name: train, validation or test.
        num_rows: All memes.
        num_non_offensive: Memes so labelled.
        num_offensive: Memes so labelled.
        num_empty_texts: Memes without a caption.
        num_long_texts: Captions of more than MAX_TOKENS tokens.
        longest_text_tokens: Tokens of the longest caption, the two special ones included.
    """

    name: str
    num_rows: int
    num_non_offensive: int
    num_offensive: int
    num_empty_texts: int
    num_long_texts: int
    longest_text_tokens: int


@dataclass(frozen=True, kw_only=True)
class Occurrence:
    """Where one of several equal memes stands."""

    split: str
    file: str
    row: int
    image_name: str
    label: str


@dataclass(frozen=True, kw_only=True)
class DuplicateGroup:
    """Memes that are equal in one respect.

    Attributes:
        occurrences: Two or more, in the order of the files.
        within_split: Some split holds two of them.
        across_splits: They are spread over two or more splits.
        conflicting: Their labels differ.
    """

    occurrences: tuple[Occurrence, ...]
    within_split: bool
    across_splits: bool
    conflicting: bool


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """All groups of memes that are equal in one respect; a group may lie within a split and across splits at once."""

    num_groups: int
    num_within_split: int
    num_across_splits: int
    num_conflicting: int
    groups: tuple[DuplicateGroup, ...]


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """What a data folder holds; ``dataclasses.asdict`` makes JSON of it.

    Attributes:
        data_hash: SHA-256 of the split CSVs.
        splits: One summary per split that exists.
        pictures: Same bytes or same perceptual hash.
        near_pictures: Perceptual hashes at most MAX_DISTANCE bits apart, directly or through others.
        texts: Same words, whatever the case, blanks and punctuation; empty captions do not count.
        memes: Same picture and same text; labels that conflict here are mistakes, elsewhere they may be meant.
    """

    data_hash: str
    splits: tuple[SplitSummary, ...]
    pictures: Duplicates
    near_pictures: Duplicates
    texts: Duplicates
    memes: Duplicates


def inspect_data(directory: Path, count_tokens: Callable[[str], int]) -> DataReport:
    """Inspect every split in ``directory``.

    Args:
        directory: A folder in MultiOFF's layout.
        count_tokens: Number of CLIP tokens of a caption, the two special ones included.

    Raises:
        DataError: The folder cannot be read; lists all that is wrong.
    """
    splits = read_splits(directory, required=())
    rows = [(split, meme) for split, memes in splits.items() for meme in memes]
    hashes = map_pictures(_hash_picture, [meme.image_path for _, meme in rows], title="Comparing pictures")
    leaders = group_near(hashes.values())
    texts = [normalize_text(meme.text) for _, meme in rows]
    pictures = [hashes[meme.image_path] for _, meme in rows]
    return DataReport(
        data_hash=data_hash(directory),
        splits=tuple(_summarize(split, memes, count_tokens) for split, memes in splits.items()),
        pictures=_find_duplicates(rows, pictures),
        near_pictures=_find_duplicates(rows, [leaders[picture] for picture in pictures]),
        texts=_find_duplicates(rows, [text or None for text in texts]),
        memes=_find_duplicates(rows, list(zip(pictures, texts, strict=True))),
    )


def group_near(hashes: Iterable[bytes]) -> dict[bytes, bytes]:
    """Map every hash to one that stands for its group: all that are at most MAX_DISTANCE bits apart, chains included.

    Args:
        hashes: Bit strings of HASH_SIZE * HASH_SIZE bits.
    """
    distinct = list(dict.fromkeys(hashes))
    leaders = {one: one for one in distinct}
    bits_NK = np.unpackbits(np.frombuffer(b"".join(distinct), np.uint8).reshape(-1, HASH_SIZE**2 // 8), axis=1)
    signs_NK = bits_NK.astype(np.float32) * 2 - 1  # the dot product of signs is the bits less twice the distance
    for start in range(0, len(distinct), _HASHES_AT_ONCE):
        dots_MN = signs_NK[start : start + _HASHES_AT_ONCE] @ signs_NK.T
        for one, other in np.argwhere(dots_MN >= signs_NK.shape[1] - 2 * MAX_DISTANCE):
            first, second = (_find_leader(leaders, distinct[index]) for index in (start + one, other))
            leaders[second] = first
    return {one: _find_leader(leaders, one) for one in distinct}


def normalize_text(text: str) -> str:
    """Reduce a caption to what makes it the same caption: letters, marks, digits and emoji, one blank between words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(char if _carries_meaning(char) else " " for char in folded).split())


def format_report(report: DataReport) -> str:
    """Lay the report out for a terminal, with a few examples of what leaks from one split into another."""
    lines = [f"data {report.data_hash}", ""]
    lines.append(
        _align(("split", "rows", "non-offensive", "offensive", "no text", f"> {MAX_TOKENS} tokens", "longest"))
    )
    lines += [_align(astuple(split)) for split in report.splits]  # the fields stand in the columns' order
    lines += ["", _align(("duplicates", "groups", "within split", "across splits", "conflicting"))]
    kinds = {
        "pictures": report.pictures,
        "near pictures": report.near_pictures,
        "texts": report.texts,
        "picture+text": report.memes,
    }
    for name, found in kinds.items():
        counts = (found.num_groups, found.num_within_split, found.num_across_splits, found.num_conflicting)
        lines.append(_align((name, *counts)))
    near = report.near_pictures
    lines += _show_groups("same picture across splits", (g for g in report.pictures.groups if g.across_splits))
    lines += _show_groups("nearly the same picture across splits", (g for g in near.groups if g.across_splits))
    lines += _show_groups("same text across splits", (g for g in report.texts.groups if g.across_splits))
    lines += _show_groups("same picture and text, different labels", (g for g in report.memes.groups if g.conflicting))
    return "\n".join(lines)


def _find_leader(leaders: dict[bytes, bytes], one: bytes) -> bytes:
    while leaders[one] != one:
        one = leaders[one]
    return one


def _hash_picture(path: Path) -> bytes:
    # Equal bytes decode to equal pixels, so that the perceptual hash covers them too.
    return np.packbits(imagehash.phash(decode_image(path.read_bytes()), hash_size=HASH_SIZE).hash).tobytes()


@functools.cache
def _carries_meaning(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] in "LMN" or category == "So"


def _summarize(split: str, memes: Sequence[Meme], count_tokens: Callable[[str], int]) -> SplitSummary:
    lengths = [count_tokens(meme.text) for meme in memes]
    return SplitSummary(
        name=split,
        num_rows=len(memes),
        num_non_offensive=sum(meme.label is Label.NON_OFFENSIVE for meme in memes),
        num_offensive=sum(meme.label is Label.OFFENSIVE for meme in memes),
        num_empty_texts=sum(not meme.text.strip() for meme in memes),
        num_long_texts=sum(length > MAX_TOKENS for length in lengths),
        longest_text_tokens=max(lengths, default=0),
    )


def _find_duplicates(rows: Sequence[tuple[str, Meme]], keys: Sequence[Hashable]) -> Duplicates:
    """Group the rows whose keys are equal; a row whose key is None is like no other."""
    rows_by_key: defaultdict[Hashable, list[tuple[str, Meme]]] = defaultdict(list)
    for row, key in zip(rows, keys, strict=True):
        if key is not None:
            rows_by_key[key].append(row)
    groups = tuple(_make_group(members) for members in rows_by_key.values() if len(members) > 1)
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
                file=CSV_NAMES[split],
                row=meme.row,
                image_name=meme.image_path.name,
                label=_LABEL_NAMES[meme.label],
            )
            for split, meme in members
        ),
        within_split=num_splits < len(members),
        across_splits=num_splits > 1,
        conflicting=len({meme.label for _, meme in members}) > 1,
    )


def _align(cells: Iterable[object]) -> str:
    first, *rest = (str(cell) for cell in cells)
    return f"{first:<14}" + "".join(f"{cell:>15}" for cell in rest)


def _show_groups(title: str, groups: Iterable[DuplicateGroup]) -> list[str]:
    """Name the first few rows of the first few groups, and say how many more there are."""
    every = list(groups)
    if not every:
        return []
    lines = ["", f"{title}: {len(every)}"]
    for group in every[:_SHOWN_GROUPS]:
        # One row of each split first, or a large group would show rows of train alone.
        firsts = {occurrence.split: occurrence for occurrence in reversed(group.occurrences)}.values()
        ordered = [*reversed(firsts), *(other for other in group.occurrences if other not in firsts)]
        shown = [f"{o.file} row {o.row} ({o.image_name}, {o.label})" for o in ordered[:_SHOWN_ROWS]]
        num_more = len(ordered) - len(shown)
        lines.append("  " + " = ".join(shown) + (f" = {num_more} more" if num_more else ""))
    if len(every) > _SHOWN_GROUPS:
        lines.append(f"  and {len(every) - _SHOWN_GROUPS} more")
    return lines

"""Report on a data folder: number of rows, length of captions, and memes that occur more than once.

A report never contains captions; files and rows identify the memes.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Final

from memes.duplicates import (
    DuplicateGroup,
    Duplicates,
    find_duplicates,
    group_near,
    hash_picture,
    normalize_text,
)
from memes.pictures import stream_pictures
from memes.reading import data_hash, find_ignored, read_splits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from memes.meme import Meme
    from memes.meme_table import MemeTable

MAX_TOKENS: Final = 77  # CLIP's text window, the start and end token included
_SHOWN_GROUPS: Final = 3
_SHOWN_ROWS: Final = 4


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """Counts of one split.

    Attributes:
        name: train, validation or test.
        num_rows: Memes.
        num_non_offensive: Memes labelled non-offensive.
        num_offensive: Memes labelled offensive.
        num_empty_texts: Memes without a caption.
        num_long_texts: Captions of more than ``max_tokens`` tokens.
        longest_text_tokens: Tokens of the longest caption, the special ones included.
    """

    name: str
    num_rows: int
    num_non_offensive: int
    num_offensive: int
    num_empty_texts: int
    num_long_texts: int
    longest_text_tokens: int


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """The report; ``dataclasses.asdict`` turns it into JSON.

    Attributes:
        data_hash: SHA-256 of the files that list the memes.
        max_tokens: Number of tokens that the model reads at once.
        splits: A summary of each split that exists.
        ignored: Files that look like listings of memes but are not read, relative to the folder.
        pictures: Memes with the same perceptual hash; files with the same bytes have the same one.
        near_pictures: Memes with hashes at most ``duplicates.MAX_DISTANCE`` bits apart, directly or through others.
        texts: Memes with the same words, ignoring case, blanks and punctuation; empty captions do not count.
        memes: Memes with the same picture and text. Conflicting labels are mistakes here; above they may be intended.
    """

    data_hash: str
    max_tokens: int
    splits: tuple[SplitSummary, ...]
    ignored: tuple[str, ...]
    pictures: Duplicates
    near_pictures: Duplicates
    texts: Duplicates
    memes: Duplicates


def inspect_data(directory: Path, count_tokens: Callable[[str], int], *, max_tokens: int = MAX_TOKENS) -> DataReport:
    """Inspect every split in ``directory``.

    Args:
        directory: A folder in one of the layouts of ``memes.layouts``.
        count_tokens: Returns the number of tokens of a caption, the special ones included.
        max_tokens: Number of tokens that the model reads at once.

    Raises:
        DataError: The folder cannot be read; lists all that is wrong.
    """
    splits = read_splits(directory, required=())
    find_row = functools.partial(_find_row, splits)
    paths = itertools.chain.from_iterable(memes.image_paths() for memes in splits.values())
    num_rows = sum(map(len, splits.values()))
    pictures = list(stream_pictures(hash_picture, paths, title="Comparing pictures", total=num_rows))
    leaders = group_near(pictures)
    texts = [normalize_text(meme.text) for memes in splits.values() for meme in memes]
    return DataReport(
        data_hash=data_hash(directory),
        max_tokens=max_tokens,
        ignored=tuple(find_ignored(directory)),
        splits=tuple(_summarize(split, memes, count_tokens, max_tokens) for split, memes in splits.items()),
        pictures=find_duplicates(find_row, pictures),
        near_pictures=find_duplicates(find_row, (leaders[picture] for picture in pictures)),
        texts=find_duplicates(find_row, (text or None for text in texts)),
        memes=find_duplicates(find_row, zip(pictures, texts, strict=True)),
    )


def format_report(report: DataReport) -> str:
    """Format the report for a terminal, with a few examples of memes that leak from one split into another."""
    lines = [f"data {report.data_hash}", ""]
    lines.append(
        _align(("split", "rows", "non-offensive", "offensive", "no text", f"> {report.max_tokens} tokens", "longest"))
    )
    lines += [_align(astuple(split)) for split in report.splits]  # the fields are in the order of the columns
    if report.ignored:
        lines += ["", f"not read, though they look like lists of memes: {', '.join(report.ignored)}"]
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


def _find_row(splits: Mapping[str, MemeTable], index: int) -> tuple[str, Meme]:
    """The meme at ``index`` of all splits in their order, and the name of its split."""
    for split, memes in splits.items():
        if index < len(memes):
            return split, memes[index]
        index -= len(memes)
    raise IndexError(index)


def _summarize(split: str, memes: MemeTable, count_tokens: Callable[[str], int], max_tokens: int) -> SplitSummary:
    lengths, num_empty_texts = [], 0
    for meme in memes:
        lengths.append(count_tokens(meme.text))
        num_empty_texts += not meme.text.strip()
    num_offensive = int(memes.labels.sum())
    return SplitSummary(
        name=split,
        num_rows=len(memes),
        num_non_offensive=len(memes) - num_offensive,
        num_offensive=num_offensive,
        num_empty_texts=num_empty_texts,
        num_long_texts=sum(length > max_tokens for length in lengths),
        longest_text_tokens=max(lengths, default=0),
    )


def _align(cells: Iterable[object]) -> str:
    first, *rest = (str(cell) for cell in cells)
    return f"{first:<14}" + "".join(f"{cell:>15}" for cell in rest)


def _show_groups(title: str, groups: Iterable[DuplicateGroup]) -> list[str]:
    """Lines that name the first rows of the first groups, and count the others."""
    every = list(groups)
    if not every:
        return []
    lines = ["", f"{title}: {len(every)}"]
    for group in every[:_SHOWN_GROUPS]:
        # One row of each split first: otherwise a large group shows rows of train only.
        firsts = {occurrence.split: occurrence for occurrence in reversed(group.occurrences)}.values()
        ordered = [*reversed(firsts), *(other for other in group.occurrences if other not in firsts)]
        shown = [f"{o.file} row {o.row} ({o.image_name}, {o.label})" for o in ordered[:_SHOWN_ROWS]]
        num_more = len(ordered) - len(shown)
        lines.append("  " + " = ".join(shown) + (f" = {num_more} more" if num_more else ""))
    if len(every) > _SHOWN_GROUPS:
        lines.append(f"  and {len(every) - _SHOWN_GROUPS} more")
    return lines

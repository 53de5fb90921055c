"""Read labelled memes in any known layout; one error lists everything that is wrong with the folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memes.layouts import find_layout
from memes.meme import SPLITS, RowErrors, Split
from memes.picture_check import check_pictures

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from memes.listings import Layout
    from memes.meme_table import MemeTable


@dataclass(kw_only=True)
class Skipping:
    """Which faulty memes are left out.

    Attributes:
        max_memes: How many memes with a faulty row or picture may be left out, of all splits together.
        skipped: A line for each meme left out, ``file, row N: what, value``; set by ``read_splits``.
    """

    max_memes: int = 0
    skipped: tuple[str, ...] = ()


def read_split(directory: Path, split: Split, *, verify_images: bool = True) -> MemeTable:
    """Read one split in the order of its file.

    Args:
        directory: A folder in one of the layouts of ``memes.layouts``.
        split: The split to read.
        verify_images: Whether to decode every picture in full; if not, the pictures need not even exist.

    Raises:
        DataError: Lists everything wrong with the file and, if they are verified, with the pictures.
        ValueError: ``split`` is not one of the three.
    """
    return _read(directory, _known_splits([split]), others=False, verify_images=verify_images, skipping=Skipping())[
        split
    ]


def read_splits(
    directory: Path,
    *,
    required: Collection[str] = ("train", "validation"),
    others: bool = True,
    verify_images: bool = True,
    skipping: Skipping | None = None,
) -> dict[str, MemeTable]:
    """Read several splits.

    Args:
        directory: A folder in one of the layouts of ``memes.layouts``.
        required: Splits whose absence is an error.
        others: Whether to read the other splits too, if they exist.
        verify_images: Whether to decode every picture in full, so that none can fail later.
        skipping: How many faulty memes may be left out, and which were; none by default.

    Returns:
        The memes by split, in the order train, validation, test.

    Raises:
        DataError: Lists everything wrong with all splits.
        ValueError: ``required`` has a name that is not a split.
    """
    skipping = skipping or Skipping()
    return _read(directory, _known_splits(required), others=others, verify_images=verify_images, skipping=skipping)


def data_hash(directory: Path) -> str:
    """SHA-256, in hex, of the names and bytes of all files that list labelled memes: it identifies the rows.

    Raises:
        DataError: There is no such file, or one cannot be read.
    """
    errors = RowErrors()
    digest, num_files = hashlib.sha256(), 0
    if layout := find_layout(directory, errors):
        for listing in layout.open_listings(SPLITS, errors):
            for file in listing.format.files(listing.file):
                # The length marks where a file ends.
                digest.update(f"{file.path.name}\0{file.num_bytes}\0".encode())
                for block in file.blocks():
                    digest.update(block)
            num_files += 1
        _expect_any(num_files, layout, errors)
    errors.raise_any()
    return digest.hexdigest()


def find_ignored(directory: Path) -> list[str]:
    """Files that look like listings of memes but list no labelled split, relative to ``directory``.

    Raises:
        DataError: The folder is in no known layout.
    """
    errors = RowErrors()
    ignored: list[str] = []
    if layout := find_layout(directory, errors):
        listings = list(layout.open_listings(SPLITS, errors))
        read = {file.path for one in listings for file in one.format.files(one.file)}
        ignored = layout.find_ignored(read)
    errors.raise_any()
    return ignored


def _known_splits(names: Collection[str]) -> list[Split]:
    for name in names:
        if name not in SPLITS:
            raise ValueError(f"split is {name!r}; it must be one of {', '.join(SPLITS)}")
    return [split for split in SPLITS if split in names]


def _read(
    directory: Path, required: Collection[Split], *, others: bool, verify_images: bool, skipping: Skipping
) -> dict[str, MemeTable]:
    errors = RowErrors(max_skipped=skipping.max_memes)
    memes: dict[str, MemeTable] = {}
    if layout := find_layout(directory, errors):
        for listing in layout.open_listings(SPLITS if others else required, errors, required=required):
            if found := listing.format.read_memes(listing.file, listing.base, errors):
                memes[listing.split] = found
        _expect_any(len(memes), layout, errors)
        if verify_images:
            check_pictures(layout, memes.values(), errors)
    errors.raise_any()
    skipping.skipped = errors.skipped()
    return {split: found.without(errors.skipped_rows(found.path)) for split, found in memes.items()}


def _expect_any(num_files: int, layout: Layout, errors: RowErrors) -> None:
    if not num_files and not errors:
        errors.add_file_error(f"{layout.listing_folder}: no split, expected one of {layout.expected}")

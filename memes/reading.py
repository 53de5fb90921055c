"""Read labelled memes in any known layout, and refuse the whole folder when anything in it is wrong.

Does not know what becomes of the memes, nor how a layout is read.
"""

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
    """Which memes are left out.

    Attributes:
        max_memes: How many may be, of all splits together: their rows or their pictures are faulty.
        skipped: A line for each that was, ``file, row N: what, value``; written by ``read_splits``.
    """

    max_memes: int = 0
    skipped: tuple[str, ...] = ()


def read_split(directory: Path, split: Split, *, verify_images: bool = True) -> MemeTable:
    """Read one split in the order of its file.

    Args:
        directory: A folder in one of the layouts of ``memes.layouts``.
        split: Which of the three.
        verify_images: Decode every picture in full; without it the pictures need not even be there.

    Returns:
        The memes; each is parsed when it is asked for, so that a million need hardly more memory than a thousand.

    Raises:
        DataError: Lists all that is wrong with the file and, if asked to look, with the pictures.
        ValueError: No such split.
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
    """Read several splits, decoding every picture, so that nothing can fail later.

    Args:
        directory: A folder in one of the layouts of ``memes.layouts``.
        required: Splits whose absence is an error.
        others: Whether to read the other splits too, where they exist.
        verify_images: As for ``read_split``.
        skipping: How many faulty memes may be left out, and where it is written which were; none by default.

    Returns:
        The memes by split, in the order train, validation, test; see ``read_split``.

    Raises:
        DataError: Lists all that is wrong, over all splits.
        ValueError: ``required`` names no such split.
    """
    skipping = skipping or Skipping()
    return _read(directory, _known_splits(required), others=others, verify_images=verify_images, skipping=skipping)


def data_hash(directory: Path) -> str:
    """Return the SHA-256, in hex, of the names and bytes of the files that list the memes: which rows were measured.

    Raises:
        DataError: There is no such file, or one cannot be read.
    """
    errors = RowErrors()
    digest, num_files = hashlib.sha256(), 0
    if layout := find_layout(directory, errors):
        for listing in layout.open_listings(SPLITS, errors):
            for file in listing.format.files(listing.file):
                # The length keeps neighbouring files apart.
                digest.update(f"{file.path.name}\0{file.num_bytes}\0".encode())
                for block in file.blocks():
                    digest.update(block)
            num_files += 1
        _expect_any(num_files, layout, errors)
    errors.raise_any()
    return digest.hexdigest()


def find_ignored(directory: Path) -> list[str]:
    """Files that look like listings of memes but are none of a labelled split, by name relative to ``directory``.

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

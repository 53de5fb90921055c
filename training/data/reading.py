"""Read labelled memes in any known layout, and refuse the whole folder when anything in it is wrong.

Does not know what becomes of the memes, nor how a layout is read.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from training.data.layouts import find_layout
from training.data.memes import SPLITS, Offenders, Split
from training.data.picture_check import check_pictures

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from training.data.listings import Layout
    from training.data.meme_file import MemeFile


def read_split(directory: Path, split: Split, *, verify_images: bool = True) -> MemeFile:
    """Read one split in the order of its file.

    Args:
        directory: A folder in one of the layouts of ``training.data.layouts``.
        split: Which of the three.
        verify_images: Decode every picture in full; without it the pictures need not even be there.

    Returns:
        The memes; each is parsed when it is asked for, so that a million need hardly more memory than a thousand.

    Raises:
        DataError: Lists all that is wrong with the file and, if asked to look, with the pictures.
        ValueError: No such split.
    """
    return _read(directory, _known_splits([split]), others=False, verify_images=verify_images)[split]


def read_splits(
    directory: Path,
    *,
    required: Collection[str] = ("train", "validation"),
    others: bool = True,
    verify_images: bool = True,
) -> dict[str, MemeFile]:
    """Read several splits, decoding every picture, so that nothing can fail later.

    Args:
        directory: A folder in one of the layouts of ``training.data.layouts``.
        required: Splits whose absence is an error.
        others: Whether to read the other splits too, where they exist.
        verify_images: As for ``read_split``.

    Returns:
        The memes by split, in the order train, validation, test; see ``read_split``.

    Raises:
        DataError: Lists all that is wrong, over all splits.
        ValueError: ``required`` names no such split.
    """
    return _read(directory, _known_splits(required), others=others, verify_images=verify_images)


def data_hash(directory: Path) -> str:
    """Return the SHA-256, in hex, of the names and bytes of the files that list the memes: which rows were measured.

    Raises:
        DataError: There is no such file, or one cannot be read.
    """
    offenders = Offenders()
    digest, num_files = hashlib.sha256(), 0
    if layout := find_layout(directory, offenders):
        for _, file in layout.open_listings(SPLITS, offenders):
            # The length keeps neighbouring files apart.
            digest.update(f"{file.path.name}\0{file.num_bytes}\0".encode())
            for block in file.blocks():
                digest.update(block)
            num_files += 1
        _expect_any(num_files, layout, offenders)
    offenders.raise_any()
    return digest.hexdigest()


def _known_splits(names: Collection[str]) -> list[Split]:
    for name in names:
        if name not in SPLITS:
            raise ValueError(f"split is {name!r}; it must be one of {', '.join(SPLITS)}")
    return [split for split in SPLITS if split in names]


def _read(directory: Path, required: Collection[Split], *, others: bool, verify_images: bool) -> dict[str, MemeFile]:
    offenders = Offenders()
    memes: dict[str, MemeFile] = {}
    if layout := find_layout(directory, offenders):
        for split, file in layout.open_listings(SPLITS if others else required, offenders, required=required):
            if found := layout.format.read_memes(file, layout.base, offenders):
                memes[split] = found
        _expect_any(len(memes), layout, offenders)
        if verify_images:
            check_pictures(layout, memes.values(), offenders)
    offenders.raise_any()
    return memes


def _expect_any(num_files: int, layout: Layout, offenders: Offenders) -> None:
    if not num_files and not offenders:
        offenders.add(f"{layout.listing_folder}: no split, expected one of {layout.expected}")

"""Read labelled memes, and refuse the whole folder when anything in it is wrong.

Does not know what becomes of the memes, nor how the layout on disk is read.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from training.memes import SPLITS, DataError, Meme, Split
from training.multioff import CSV_NAMES, MultiOffReader

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def read_split(directory: Path, split: Split, *, verify_images: bool = True) -> list[Meme]:
    """Read one split in the order of its CSV.

    Args:
        directory: The folder that holds ``Labelled Images`` and ``Split Dataset``.
        split: Which of the three.
        verify_images: Decode every picture in full; without it the pictures need not even be there.

    Raises:
        DataError: Lists all that is wrong with the CSV and, if asked to look, with the pictures.
        ValueError: No such split.
    """
    return _read(directory, _known_splits([split]), others=False, verify_images=verify_images)[split]


def read_splits(directory: Path, *, required: Collection[str] = ("train", "validation")) -> dict[str, list[Meme]]:
    """Read every split that exists, decoding every picture once, so that nothing can fail later.

    Args:
        directory: The folder that holds ``Labelled Images`` and ``Split Dataset``.
        required: Splits whose absence is an error.

    Returns:
        The memes by split, in the order train, validation, test.

    Raises:
        DataError: Lists all that is wrong, over all splits.
        ValueError: ``required`` names no such split.
    """
    return _read(directory, _known_splits(required), others=True, verify_images=True)


def data_hash(directory: Path) -> str:
    """Return the SHA-256, in hex, of the names and bytes of the split CSVs: which rows a figure was measured on.

    Raises:
        DataError: There is no split CSV, or one cannot be read.
    """
    reader = MultiOffReader(directory)
    digest, num_files = hashlib.sha256(), 0
    if folder := reader.find_split_folder():
        for name in CSV_NAMES.values():
            if os.path.lexists(folder / name) and (data := reader.read_bytes(folder / name)) is not None:
                digest.update(f"{name}\0{len(data)}\0".encode() + data)  # the length keeps neighbouring files apart
                num_files += 1
        if not num_files and not reader.offenders:
            reader.offenders.append(f"{folder}: no split, expected one of {', '.join(CSV_NAMES.values())}")
    if reader.offenders:
        raise DataError(reader.offenders)
    return digest.hexdigest()


def _known_splits(names: Collection[str]) -> list[Split]:
    for name in names:
        if name not in SPLITS:
            raise ValueError(f"split is {name!r}; it must be one of {', '.join(SPLITS)}")
    return [split for split in SPLITS if split in names]


def _read(directory: Path, required: Collection[str], *, others: bool, verify_images: bool) -> dict[str, list[Meme]]:
    reader = MultiOffReader(directory)
    memes: dict[str, list[Meme]] = {}
    if folder := reader.find_split_folder():
        for split, name in CSV_NAMES.items():
            if split in required or (others and os.path.lexists(folder / name)):
                memes[split] = reader.read_csv(folder / name)
        if not memes:
            reader.offenders.append(f"{folder}: no split, expected one of {', '.join(CSV_NAMES.values())}")
    if verify_images:
        reader.check_pictures()
    if reader.offenders:
        raise DataError(reader.offenders)
    return memes

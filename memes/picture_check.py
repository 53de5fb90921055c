"""Check the pictures of a data folder by decoding all of them, so that none can fail later."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

from memeguard.errors import MemeError
from memeguard.preprocess import decode_image
from memeguard.regular_file import read_picture
from memes.pictures import CHECKED_SIZE, stream_pictures

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from memes.listings import Layout
    from memes.meme import RowErrors
    from memes.meme_table import MemeTable


def check_pictures(layout: Layout, files: Collection[MemeTable], errors: RowErrors) -> None:
    """Decode the picture of every meme in ``files``, and note a row error for each that cannot be decoded."""
    if layout.image_folder and (wrong := _find_folder_fault(layout.directory, layout.image_folder)):
        errors.add_file_error(f"{layout.directory}: {wrong}")
        return
    paths = itertools.chain.from_iterable(memes.image_paths() for memes in files)
    places = itertools.chain.from_iterable(
        zip(itertools.repeat(memes.path), memes.rows, memes.image_names(), strict=False) for memes in files
    )
    check = functools.partial(find_fault, root=layout.directory)
    faults = stream_pictures(check, paths, title="Checking pictures", total=sum(map(len, files)))
    for (listing, row, name), fault in zip(places, faults, strict=True):
        if fault:
            what, why = fault
            errors.add(listing, int(row), f"{what}, {name!r}{why}")


def _find_folder_fault(directory: Path, name: str) -> str | None:
    """What is wrong with the folder of the pictures; reported once, not for each picture."""
    folder = directory / name
    if not folder.is_dir():
        return f"missing folder, {name}"
    if not folder.resolve().is_relative_to(directory.resolve()):
        return f"folder {name} is a link that leaves the data folder"
    return None


def find_fault(path: Path, *, root: Path | None = None) -> tuple[str, str] | None:
    """Decode a picture, and return what is wrong with it and why; None if nothing is.

    Args:
        path: The picture.
        root: A folder that no link may leave.
    """
    try:
        decode_image(read_picture(path, root=root), wanted_size=CHECKED_SIZE)
    except FileNotFoundError:
        return "missing picture", "; folders are separated by /, not by a backslash" if "\\" in path.name else ""
    except OSError as error:
        return "unreadable picture", f": {error.strerror}"
    except MemeError as error:
        return "unreadable picture", f": {error}"
    return None

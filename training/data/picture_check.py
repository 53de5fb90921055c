"""Decode every picture that a data folder's listings name, so that none can fail later.

Does not know how the listings are read.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from memeguard.errors import MemeError
from memeguard.preprocess import decode_image
from training.data.pictures import stream_pictures

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from training.data.listings import Layout
    from training.data.meme_file import MemeFile
    from training.data.memes import Offenders


def check_pictures(layout: Layout, files: Collection[MemeFile], offenders: Offenders) -> None:
    """Decode the picture of every row of ``files``, and note those that cannot be, once for each row."""
    if layout.image_folder and not (layout.directory / layout.image_folder).is_dir():
        offenders.add(f"{layout.directory}: missing folder, {layout.image_folder}")
        return
    paths, again = itertools.tee(itertools.chain.from_iterable(memes.image_paths() for memes in files))
    places = itertools.chain.from_iterable(memes.places() for memes in files)
    faults = stream_pictures(find_fault, again, title="Checking pictures", total=sum(map(len, files)))
    for place, path, fault in zip(places, paths, faults, strict=True):
        if fault:
            what, why = fault
            offenders.add(f"{place}: {what}, {str(path.relative_to(layout.base))!r}{why}")


def find_fault(path: Path) -> tuple[str, str] | None:
    """Decode a picture for nothing but to see it fail; return what is wrong and the reason, if there is one."""
    try:
        decode_image(path.read_bytes())
    except FileNotFoundError:
        return "missing picture", ""
    except OSError as error:
        return "unreadable picture", f": {error.strerror}"
    except MemeError as error:
        return "unreadable picture", f": {error}"
    return None

"""Do something with many pictures at once, and show how far it is. Does not know what is done with them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_Result = TypeVar("_Result")


def map_pictures(function: Callable[[Path], _Result], paths: Iterable[Path], *, title: str) -> dict[Path, _Result]:
    """Apply ``function`` to every distinct path in a few threads, with a progress bar when stderr is a terminal.

    Pillow's decoders release the interpreter lock, so that threads are enough.
    """
    distinct = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        results = pool.map(function, distinct)
        return dict(zip(distinct, tqdm(results, title, total=len(distinct), unit="img", disable=None), strict=True))

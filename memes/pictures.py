"""Apply a function to many pictures in a few threads, with a progress bar."""

from __future__ import annotations

import os
import traceback
from collections import OrderedDict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from pathlib import Path

# Pictures that are only checked or hashed are decoded for this size: a large one then takes as little memory as in a
# server, and one of less than 4 megapixels keeps every pixel.
CHECKED_SIZE: Final = 512
_NUM_AHEAD: Final = 64  # pictures in progress, or done and not yet taken
_NUM_REMEMBERED: Final = 4096  # distinct pictures, about 1.5 kB each

_Result = TypeVar("_Result")


def map_pictures(function: Callable[[Path], _Result], paths: Iterable[Path], *, title: str) -> dict[Path, _Result]:
    """Apply ``function`` to every distinct path and return the results by path; see ``stream_pictures``."""
    distinct = list(dict.fromkeys(paths))
    results = stream_pictures(function, distinct, title=title, total=len(distinct))
    return dict(zip(distinct, results, strict=True))


def stream_pictures(
    function: Callable[[Path], _Result], paths: Iterable[Path], *, title: str, total: int
) -> Generator[_Result]:
    """Yield ``function`` of every path, in order; a few threads compute it, and a terminal shows a progress bar.

    Threads are enough because Pillow's decoders release the interpreter lock. The results of the last few thousand
    distinct paths are kept, for pictures that come again.
    """
    remembered: OrderedDict[Path, Future[_Result]] = OrderedDict()
    waiting: deque[Future[_Result]] = deque()
    with (
        ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool,
        tqdm(desc=title, total=total, unit="img", disable=None) as progress,
    ):
        for path in paths:
            if path not in remembered:
                remembered[path] = pool.submit(_call_and_let_go, function, path)
            remembered.move_to_end(path)
            if len(remembered) > _NUM_REMEMBERED:
                remembered.popitem(last=False)
            waiting.append(remembered[path])
            if len(waiting) > _NUM_AHEAD:
                yield waiting.popleft().result()
                progress.update()
        while waiting:
            yield waiting.popleft().result()
            progress.update()


def _call_and_let_go(function: Callable[[Path], _Result], path: Path) -> _Result:
    """Call ``function``; clear an error's frames, since a future keeps the error and its frames keep the pixels."""
    try:
        return function(path)
    except Exception as error:
        for one in (error, error.__cause__, error.__context__):
            if one is not None:
                traceback.clear_frames(one.__traceback__)
        raise

"""Bound the time a block of code may take. Does not know what the block does."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

from memeguard.errors import SlowImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import NoReturn


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise ``SlowImageError`` in the block once it has run for ``seconds``.

    Decoders have no limit of their own, and a picture of a few kilobytes can keep one busy for minutes. Only the main
    thread can be interrupted (a TorchServe worker answers in it); in any other nothing is bounded. Uses SIGALRM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise SlowImageError(f"image takes over {seconds} s to decode")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)

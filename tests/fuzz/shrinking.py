"""Make an input smaller while it still shows the same thing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def shrink(data: bytes, is_same: Callable[[bytes], bool], *, seconds: float) -> bytes:
    """Drop blocks of bytes, large ones first, as long as ``is_same`` holds and there is time (Zeller's ddmin)."""
    deadline = time.monotonic() + seconds
    size = len(data) // 2
    while size and time.monotonic() < deadline:
        start = 0
        while start < len(data) and time.monotonic() < deadline:
            smaller = data[:start] + data[start + size :]
            if is_same(smaller):
                data = smaller
            else:
                start += size
        size //= 2
    return data

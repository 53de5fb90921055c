"""Check regularly whether the servers answer, in a thread, because a check may take long to fail."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_INTERVAL_S = 2.0
_MIN_FAILURES = 2  # a single one may come from this process, if it was stopped for a while


class Watch:
    """Remembers which server fails, and since when.

    Args:
        find_fault: Checks the servers; returns the name of the one that fails, or None.
        interval_s: Seconds between two checks.
    """

    def __init__(self, find_fault: Callable[[], str | None], interval_s: float = _INTERVAL_S) -> None:
        self._find_fault = find_fault
        self._interval_s = interval_s
        self._state: tuple[str | None, float, int] = (None, 0.0, 0)  # name, since when, number of checks
        self._generation = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def failing_s(self, name: str) -> float:
        """Return for how many seconds ``name`` has failed without interruption."""
        who, since, times = self._state
        return time.monotonic() - since if who == name and times >= _MIN_FAILURES else 0.0

    def reset(self) -> None:
        """Forget all checks, also the one that is running."""
        self._generation += 1
        self._state = (None, 0.0, 0)

    def close(self) -> None:
        """Stop checking, without waiting for a running check."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(self._interval_s):
            generation, asked_at = self._generation, time.monotonic()
            fault = self._find_fault()
            if generation == self._generation:
                who, since, times = self._state
                self._state = (fault, since, times + 1) if fault == who else (fault, asked_at, 1)

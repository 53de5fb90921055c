"""Ask again and again whether the servers still answer, in a thread, since an answer may take long to fail to come."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_INTERVAL_S = 2.0
_MIN_FAILURES = 2  # one may be the fault of this process, stopped for a while


class Watch:
    """Knows who does not answer, and since when.

    Args:
        find_fault: Asks; returns who is at fault, or None if all is well.
        interval_s: Between two questions.
    """

    def __init__(self, find_fault: Callable[[], str | None], interval_s: float = _INTERVAL_S) -> None:
        self._find_fault = find_fault
        self._interval_s = interval_s
        self._state: tuple[str | None, float, int] = (None, 0.0, 0)  # who, since when, how often seen
        self._generation = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def failing_s(self, name: str) -> float:
        """For how long ``name`` has been at fault, without a moment in which it was not."""
        who, since, times = self._state
        return time.monotonic() - since if who == name and times >= _MIN_FAILURES else 0.0

    def reset(self) -> None:
        """Forget what was seen, and what is being asked now."""
        self._generation += 1
        self._state = (None, 0.0, 0)

    def close(self) -> None:
        """Ask no more; a question that is out is not waited for."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(self._interval_s):
            generation, asked_at = self._generation, time.monotonic()
            fault = self._find_fault()
            if generation == self._generation:
                who, since, times = self._state
                self._state = (fault, since, times + 1) if fault == who else (fault, asked_at, 1)

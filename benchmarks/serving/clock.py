"""Keep a run within its minutes: leave out what does not fit, and record that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.serving.results import Results


class Clock:
    """Counts from when it is made; records in the results what there was no time for."""

    def __init__(self, minutes: float, results: Results) -> None:
        self._begin = time.perf_counter()
        self._budget_s = 60.0 * minutes
        self._results = results

    @property
    def spent_s(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._begin

    @property
    def left_s(self) -> float:
        """Seconds that are left; negative once the time is over."""
        return self._budget_s - self.spent_s

    def announce(self, what: str) -> None:
        """Print the time and what comes next."""
        print(f"[{self.spent_s:5.0f} s] {what}", flush=True)

    def allows(self, seconds: float, what: str) -> bool:
        """Return whether ``seconds`` more fit; announce ``what``, or record that it is left out."""
        if seconds <= self.left_s:
            self.announce(what)
            return True
        self._results.add("left_out", what=what)
        return False

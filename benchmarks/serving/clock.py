"""Keep the whole run within its minutes: what does not fit is left out, and said.

Does not know what takes the time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.serving.results import Results


class Clock:
    """Counts from its making; notes in the results what there was no time for."""

    def __init__(self, minutes: float, results: Results) -> None:
        self._begin = time.perf_counter()
        self._budget_s = 60.0 * minutes
        self._results = results

    @property
    def spent_s(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._begin

    def allows(self, seconds: float, what: str) -> bool:
        """Whether ``seconds`` more fit; says ``what`` is next, or notes that it was left out."""
        if self.spent_s + seconds <= self._budget_s:
            print(f"[{self.spent_s:5.0f} s] {what}", flush=True)
            return True
        self._results.add("notes", text=f"{what}: left out, for it would not have ended within the run's time")
        return False

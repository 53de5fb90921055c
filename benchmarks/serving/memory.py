"""The memory of a server's processes, as proportional set size (PSS): a shared page counts once in the sum."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from benchmarks.serving.processes import Family


class PeakMemory:
    """Samples the memory of a family while it is loaded.

    The kernel walks every page to answer, so it is asked every ``interval_s`` only.

    Attributes:
        total: Largest sum over all processes, in bytes.
        largest: Largest of a single process, in bytes.
    """

    def __init__(self, family: Family, *, interval_s: float = 2.0) -> None:
        self.total = 0
        self.largest = 0
        self._family = family
        self._interval_s = interval_s

    @contextlib.contextmanager
    def sampling(self) -> Iterator[Self]:
        """Sample in a thread until the block ends, and once more then."""
        try:
            with repeating(self._sample, interval_s=self._interval_s):
                yield self
        finally:
            self._sample()

    def _sample(self) -> None:
        sizes = [proportional_bytes(process) for process in self._family.members()]
        self.total = max(self.total, sum(sizes))
        self.largest = max(self.largest, *sizes, 0)


@contextlib.contextmanager
def repeating(look: Callable[[], None], *, interval_s: float) -> Iterator[None]:
    """Call ``look`` in a thread every ``interval_s`` seconds until the block ends."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(interval_s):
            look()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def proportional_bytes(process: psutil.Process) -> int:
    """Return the proportional set size of ``process`` in bytes; 0 once it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0

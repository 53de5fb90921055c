"""The memory of a server's processes over time, by what they do."""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import psutil

from benchmarks.serving.memory import proportional_bytes, repeating

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Words of a command line, in the order in which they are looked for.
_GROUPS: Final = {"model_service_worker": "workers", "ModelServer": "java", "gunicorn": "proxy"}
_OTHERS: Final = "supervisor"


class MemorySample(NamedTuple):
    """Proportional set size in bytes of each group, at a time of the monotonic clock."""

    at_s: float
    sizes: dict[str, int]


def group_of(process: psutil.Process) -> str:
    """What a process does in a server."""
    command = " ".join(process.cmdline())
    if "guard.py" in command:  # its command line ends with that of the program it guards
        return _OTHERS
    return next((group for words, group in _GROUPS.items() if words in command), _OTHERS)


def find_processes(root: psutil.Process) -> dict[str, list[psutil.Process]]:
    """The processes of a server by group, oldest first."""
    found: dict[str, list[psutil.Process]] = {}
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            found.setdefault(group_of(process), []).append(process)
    return found


class MemorySampler:
    """Looks at a server's memory every few seconds, in a thread."""

    def __init__(self, root: psutil.Process, *, interval_s: float) -> None:
        self.samples: list[MemorySample] = []
        self._root = root
        self._interval_s = interval_s

    @contextlib.contextmanager
    def sampling(self) -> Iterator[Self]:
        """Sample until the block ends."""
        with repeating(self._sample, interval_s=self._interval_s):
            yield self

    def _sample(self) -> None:
        groups = find_processes(self._root).items()
        sizes = {group: sum(map(proportional_bytes, processes)) for group, processes in groups}
        self.samples.append(MemorySample(time.monotonic(), sizes))


def growth(samples: Sequence[MemorySample], group: str) -> tuple[int, int]:
    """Median size of a group in the first and in the last third of ``samples``, in bytes."""
    sizes = [sample.sizes.get(group, 0) for sample in samples]
    third = max(1, len(sizes) // 3)
    return int(statistics.median(sizes[:third])), int(statistics.median(sizes[-third:]))

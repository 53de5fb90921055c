"""What each input must get: a documented error or a sane answer, always the same, within bounds of memory and CPU."""

from __future__ import annotations

import gc
import os
import resource
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

MAX_CPU_S: Final = 2.0  # of one input, over all threads
MAX_GROWTH_BYTES: Final = 300 * 2**20  # of the peak resident size, above what is resident before
_REPEATED: Final = 16  # every so many inputs are run twice
_REPEATABLE_CPU_S: Final = 0.5  # a slower input may meet a deadline the second time
_STATUS: Final = os.open("/proc/self/status", os.O_RDONLY)  # kept open: it is read after every input
_CLEAR_REFS: Final = Path("/proc/self/clear_refs")


class InsaneAnswerError(Exception):
    """A target answered, but the answer breaks a promise."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Something that reads untrusted bytes.

    Attributes:
        run: Reads them; returns what can be compared, raises ``InsaneAnswerError`` for a bad answer.
        accepted: Error classes that are documented for bad input.
        seeds: Valid inputs, made in code.
        mutate: Changes an input so that its structure survives; None leaves all to the engine. Its arguments are the
            input, the engine's own mutation, the longest result, and a source of chance.
        max_bytes: Longest input.
        clean_up: Removes what ``run`` needs on disk.
    """

    run: Callable[[bytes], object]
    accepted: tuple[type[BaseException], ...]
    seeds: Callable[[], Sequence[bytes]]
    mutate: Callable[[bytes, Callable[[bytes], bytes], random.Random], bytes] | None = None
    max_bytes: int = 4096
    clean_up: Callable[[], None] = lambda: None


class Finding(NamedTuple):
    """A broken promise; inputs that break it in the same place have the same ``signature``."""

    signature: str
    detail: str


class _Refusal(str):
    """The name of the documented error that an input was refused with."""

    __slots__ = ()


class Judge:
    """Runs a target on inputs and says which promise was broken; counts what it ran."""

    def __init__(self, target: Target) -> None:
        self.num_executions = 0
        self.num_accepted = 0  # inputs that were answered, not refused
        self._target = target
        self._forget_peak()

    def look(self, data: bytes) -> Finding | None:
        """Run one input; return the promise it broke."""
        self.num_executions += 1
        if _peak_kib() > self._peak_kib:  # who made the input grew, not who reads it
            self._forget_peak()
        before_s = _cpu_s()
        outcome = self._outcome(data)
        cpu_s = _cpu_s() - before_s
        if isinstance(outcome, Finding):
            return outcome
        if finding := self._over_budget(outcome, cpu_s):
            return finding
        if self.num_executions % _REPEATED == 0 and cpu_s < _REPEATABLE_CPU_S and outcome != self._outcome(data):
            return Finding("unrepeatable", f"the same input gave another outcome than {outcome!r:.200}")
        return None

    def _outcome(self, data: bytes) -> object:
        try:
            answer = self._target.run(data)
        except self._target.accepted as error:
            return _Refusal(type(error).__name__)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a PanicException of PyO3 is no Exception
            return _undocumented(error)
        self.num_accepted += 1
        return answer

    def _over_budget(self, outcome: object, cpu_s: float) -> Finding | None:
        kind = outcome if isinstance(outcome, _Refusal) else "answer"
        if cpu_s > MAX_CPU_S:
            return Finding(f"cpu-{kind}", f"took {cpu_s:.2f} s of CPU; the limit is {MAX_CPU_S} s ({kind})")
        if (peak_kib := _peak_kib()) > self._peak_kib:
            growth = (peak_kib - self._resident_kib) * 1024
            self._peak_kib = peak_kib
            if growth > MAX_GROWTH_BYTES:
                self._forget_peak()
                return Finding(f"memory-{kind}", f"grew by {growth >> 20} MiB; the limit is {MAX_GROWTH_BYTES >> 20}")
        return None

    def _forget_peak(self) -> None:
        """Start from what is resident now, or one greedy input would hide the next."""
        gc.collect()
        _CLEAR_REFS.write_text("5", "ascii")  # proc(5): resets the peak
        self._peak_kib, self._resident_kib = _peak_kib(), _resident_kib()


def _undocumented(error: BaseException) -> Finding:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).stem}.{frame.name}"
    name = type(error).__name__
    if isinstance(error, InsaneAnswerError):  # raised in one place for many reasons
        place = "".join(letter if letter.isalpha() else "-" for letter in str(error)[:40])
    return Finding(f"error-{name}-{place}", f"{name} in {frame.filename}:{frame.lineno}: {error!s:.300}")


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_kib() -> int:
    # Not ru_maxrss: a program inherits that from whoever started it (getrusage(2)).
    return _read_status(b"VmHWM:")


def _resident_kib() -> int:
    return _read_status(b"VmRSS:")


def _read_status(name: bytes) -> int:
    status = os.pread(_STATUS, 4096, 0)
    return int(status[status.index(name) + len(name) :].split(maxsplit=1)[0])

"""Bound the memory of all request bodies of a process, and cut off the slowest when it runs out."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.admission import overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.admission import AdmissionLimits


@dataclass(eq=False)
class Reader:
    """A request whose body is being read, or is held until the request is answered; ``cut_off`` ends the reading."""

    cut_off: Callable[[], None]
    began_s: float = field(default_factory=time.monotonic)
    num_bytes: int = 0
    is_reading: bool = True
    is_evicted: bool = False


class HeldBodies:
    """Counts the bodies in memory; safe to use from threads and greenlets."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._readers: dict[Reader, None] = {}  # in the order they began
        self._num_bytes = 0

    @contextlib.contextmanager
    def reading(self, cut_off: Callable[[], None]) -> Iterator[Reader]:
        """Count a request's body for the length of the block; ``received`` keeps ``Reader.num_bytes``.

        Raises:
            Problem: 503 if too many bodies are being read and none of them can be cut off.
        """
        reader = Reader(cut_off)
        with self._lock:
            self._readers[reader] = None
            is_one_too_many = sum(each.is_reading for each in self._readers) > self._limits.num_readers
        try:
            if is_one_too_many and not self.evict_reader(but=reader):
                raise overloaded()
            yield reader
        finally:
            with self._lock:
                self._num_bytes -= reader.num_bytes
                self._readers.pop(reader, None)

    def received(self, reader: Reader, num_bytes: int) -> None:
        """Count bytes that were read; raise 503 if they do not fit and no slower body can be cut off."""
        with self._lock:
            reader.num_bytes += num_bytes
            self._num_bytes += num_bytes
        while self._num_bytes > self._limits.body_bytes:
            # The victim's bytes count until its greenlet has run; this request's are the ones that wait for it.
            if not self.evict_reader(but=reader):
                raise overloaded(f"the forms being read exceed {self._limits.body_bytes} bytes; try again")

    def evict_reader(self, *, but: Reader | None = None, after_s: float = 3.0) -> bool:
        """Cut off the body that began first, if that was more than ``after_s`` ago; return whether there was one."""
        now = time.monotonic()
        with self._lock:
            for reader in self._readers:
                if reader.is_reading and not reader.is_evicted and reader is not but and now - reader.began_s > after_s:
                    reader.is_evicted = True
                    self._num_bytes -= reader.num_bytes
                    reader.num_bytes = 0
                    reader.cut_off()
                    return True
        return False

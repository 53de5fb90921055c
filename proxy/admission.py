"""Decide what is served, what waits and what is refused, so that too much costs little and the rest is served in time.

Every gunicorn process has one of these, so the totals are the settings times gunicorn's ``workers``.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OVERLOADED = "more requests than the model can answer; try again"
RETRY_AFTER = {"Retry-After": "1"}
_MIN_COMPLETIONS = 16  # the answers of one batch come together: fewer say nothing about the rate
_LOOK_EVERY_S = 0.1  # how often a full queue is searched for clients who left


@dataclass(frozen=True, kw_only=True)
class AdmissionLimits:
    """What one process takes on.

    Attributes:
        slots: Memes sent to TorchServe at once: with two processes, two batches. More give no more predictions, cannot
            be withdrawn there, and are answered in bursts that keep refusals waiting.
        slot_bytes: Bytes of forms sent to TorchServe at once; Java keeps 2.4 copies of each. One form always fits.
        max_waiting: Requests that wait for a slot.
        max_wait_s: How long a request may wait for a slot. One that would wait a fourth of it is refused at once, so
            that few find out only later, when the model has become slower meanwhile.
        body_bytes: Bytes of all forms held in memory, from the first byte read to the answer.
        num_readers: Requests whose body is being read.
    """

    slots: int = 16
    slot_bytes: int = 64 * 2**20
    max_waiting: int = 64
    max_wait_s: float = 3.0
    body_bytes: int = 128 * 2**20
    num_readers: int = 800


def overloaded(detail: str = OVERLOADED) -> Problem:
    """The answer to a request that there is no room for."""
    return Problem(503, "overloaded", detail, headers=RETRY_AFTER)


@dataclass(eq=False)
class Reader:
    """A request whose body is read, or held until it is answered; ``cut_off`` ends the reading."""

    cut_off: Callable[[], None]
    began_s: float = field(default_factory=time.monotonic)
    num_bytes: int = 0
    is_reading: bool = True
    is_evicted: bool = False


@dataclass(eq=False)
class _Waiter:
    num_bytes: int
    is_gone: Callable[[], bool]
    granted: threading.Event = field(default_factory=threading.Event)


class Admission:
    """Counts the requests of one process; safe to use from threads and greenlets."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._readers: dict[Reader, None] = {}  # in the order they began
        self._num_held_bytes = 0
        self._waiting: deque[_Waiter] = deque()
        self._num_running = 0
        self._num_running_bytes = 0
        self._completed_s: deque[float] = deque(maxlen=4 * _MIN_COMPLETIONS)  # while all slots were taken
        self._looked_s = 0.0

    @property
    def is_saturated(self) -> bool:
        """Whether every slot is taken."""
        return self._num_running >= self.limits.slots

    @property
    def is_full(self) -> bool:
        """Whether a request that comes now would be refused."""
        if len(self._waiting) < self._queue_limit():
            return False
        with self._lock:
            self._forget_the_gone()
        return len(self._waiting) >= self._queue_limit()

    # Bodies

    @contextlib.contextmanager
    def reading(self, cut_off: Callable[[], None]) -> Iterator[Reader]:
        """Hold a request's body for the length of the block; ``Reader.num_bytes`` is kept by ``received``."""
        reader = Reader(cut_off)
        with self._lock:
            self._readers[reader] = None
            is_one_too_many = sum(each.is_reading for each in self._readers) > self.limits.num_readers
        try:
            if is_one_too_many and not self.evict_reader(but=reader):
                raise overloaded()
            yield reader
        finally:
            with self._lock:
                self._num_held_bytes -= reader.num_bytes
                self._readers.pop(reader, None)

    def received(self, reader: Reader, num_bytes: int) -> None:
        """Count what was read; raises 503 where it does not fit and nobody has been reading for longer."""
        with self._lock:
            reader.num_bytes += num_bytes
            self._num_held_bytes += num_bytes
        while self._num_held_bytes > self.limits.body_bytes:
            # The victim's bytes count until its greenlet has run; those of this request are the ones to wait.
            if not self.evict_reader(but=reader):
                raise overloaded(f"the forms being read exceed {self.limits.body_bytes} bytes; try again")

    def evict_reader(self, *, but: Reader | None = None, after_s: float = 3.0) -> bool:
        """End the reading of the body that began first, if that was ``after_s`` ago; says whether there was one."""
        now = time.monotonic()
        with self._lock:
            for reader in self._readers:
                if reader.is_reading and not reader.is_evicted and reader is not but and now - reader.began_s > after_s:
                    reader.is_evicted = True
                    self._num_held_bytes -= reader.num_bytes
                    reader.num_bytes = 0
                    reader.cut_off()
                    return True
        return False

    # Slots

    @contextlib.contextmanager
    def slot(self, num_bytes: int, is_gone: Callable[[], bool]) -> Iterator[None]:
        """Wait for a slot and keep it for the length of the block.

        Args:
            num_bytes: What is sent to TorchServe.
            is_gone: Whether the client has left; it is asked before TorchServe is.

        Raises:
            Problem: 503 where the queue is too long, the wait was, or the client is gone.
        """
        waiter, is_served = _Waiter(num_bytes, is_gone), False
        if self._waiting and self.is_full:
            raise overloaded()
        with self._lock:
            self._waiting.append(waiter)
            self._grant()
        try:
            if not waiter.granted.wait(self.limits.max_wait_s):
                raise overloaded(f"the model was not free within {self.limits.max_wait_s} s; try again")
            if is_gone():
                raise Problem(503, "client_gone", "the client closed its connection before the model was free")
            is_served = True
            yield
        finally:
            self._leave(waiter, is_served=is_served)

    def _leave(self, waiter: _Waiter, *, is_served: bool) -> None:
        with self._lock:
            if waiter.granted.is_set():
                if is_served:  # those who left say nothing about how fast the model is
                    self._note_completion()
                self._num_running -= 1
                self._num_running_bytes -= waiter.num_bytes
            else:
                with contextlib.suppress(ValueError):  # it may have been forgotten
                    self._waiting.remove(waiter)
            self._grant()

    def _grant(self) -> None:
        while self._waiting and self._fits(self._waiting[0]):
            waiter = self._waiting.popleft()
            self._num_running += 1
            self._num_running_bytes += waiter.num_bytes
            waiter.granted.set()

    def _fits(self, waiter: _Waiter) -> bool:
        if self._num_running == 0:
            return True
        has_bytes = self._num_running_bytes + waiter.num_bytes <= self.limits.slot_bytes
        return has_bytes and self._num_running < self.limits.slots

    def _note_completion(self) -> None:
        if self._waiting:
            self._completed_s.append(time.monotonic())
        else:
            self._completed_s.clear()  # slots that nobody waits for are given back as slowly as clients like

    def _queue_limit(self) -> int:
        """How many may wait: as many as are served in a fourth of ``max_wait_s``, at the rate seen last."""
        completed_s = self._completed_s
        if len(completed_s) < _MIN_COMPLETIONS:
            return self.limits.max_waiting
        rate = len(completed_s) / max(time.monotonic() - completed_s[0], 1e-3)
        return max(1, min(self.limits.max_waiting, int(rate * self.limits.max_wait_s / 4)))

    def _forget_the_gone(self) -> None:
        """Drop those who left while they waited: granted, they find out that they are gone and cost nothing."""
        now = time.monotonic()
        if now - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = now
        for waiter in [each for each in self._waiting if each.is_gone()]:
            self._waiting.remove(waiter)
            self._num_running += 1  # given back at once by ``_leave``
            self._num_running_bytes += waiter.num_bytes
            waiter.granted.set()

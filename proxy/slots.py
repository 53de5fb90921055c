"""Bound how many memes a process sends to TorchServe at once; others wait in a short queue or are refused."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.admission import overloaded
from proxy.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.admission import AdmissionLimits

_MIN_COMPLETIONS = 16  # the answers of one batch come together, so that fewer say nothing about the rate
_LOOK_EVERY_S = 0.1  # how often a full queue is searched for clients who left


@dataclass(eq=False)
class _Waiter:
    num_bytes: int
    is_gone: Callable[[], bool]
    granted: threading.Event = field(default_factory=threading.Event)


class Slots:
    """Grants slots in the order of the requests; safe to use from threads and greenlets."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._waiting: deque[_Waiter] = deque()
        self._num_running = 0
        self._num_running_bytes = 0
        self._completed_s: deque[float] = deque(maxlen=4 * _MIN_COMPLETIONS)  # while all slots were taken
        self._looked_s = 0.0

    @property
    def are_taken(self) -> bool:
        """Whether every slot is taken."""
        return self._num_running >= self._limits.slots

    @property
    def is_full(self) -> bool:
        """Whether the queue is full, so that a request that comes now is refused."""
        if len(self._waiting) < self._queue_limit():
            return False
        with self._lock:
            self._forget_the_gone()
        return len(self._waiting) >= self._queue_limit()

    @contextlib.contextmanager
    def take(self, num_bytes: int, is_gone: Callable[[], bool]) -> Iterator[None]:
        """Wait for a slot and keep it for the length of the block.

        Args:
            num_bytes: Size of the form that is sent to TorchServe.
            is_gone: Tells whether the client has left; checked before TorchServe is asked.

        Raises:
            Problem: 503 if the queue is full, the wait takes too long, or the client has left.
        """
        waiter, is_served = _Waiter(num_bytes, is_gone), False
        if self._waiting and self.is_full:
            raise overloaded()
        with self._lock:
            self._waiting.append(waiter)
            self._grant()
        try:
            if not waiter.granted.wait(self._limits.max_wait_s):
                raise overloaded(f"the model was not free within {self._limits.max_wait_s} s; try again")
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
            self._run(self._waiting.popleft())

    def _fits(self, waiter: _Waiter) -> bool:
        if self._num_running == 0:
            return True
        has_bytes = self._num_running_bytes + waiter.num_bytes <= self._limits.slot_bytes
        return has_bytes and self._num_running < self._limits.slots

    def _run(self, waiter: _Waiter) -> None:
        self._num_running += 1
        self._num_running_bytes += waiter.num_bytes
        waiter.granted.set()

    def _note_completion(self) -> None:
        if self._waiting:
            self._completed_s.append(time.monotonic())
        else:
            self._completed_s.clear()  # without a queue, the rate is that of the clients, not the model's

    def _queue_limit(self) -> int:
        """How many may wait: as many as are served in a fourth of ``max_wait_s``, at the rate seen last."""
        completed_s = self._completed_s
        if len(completed_s) < _MIN_COMPLETIONS:
            return self._limits.max_waiting
        rate = len(completed_s) / max(time.monotonic() - completed_s[0], 1e-3)
        return max(1, min(self._limits.max_waiting, int(rate * self._limits.max_wait_s / 4)))

    def _forget_the_gone(self) -> None:
        """Take clients who left out of the queue: with a slot granted, they find out that they are gone."""
        now = time.monotonic()
        if now - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = now
        for waiter in [each for each in self._waiting if each.is_gone()]:
            self._waiting.remove(waiter)
            self._run(waiter)  # ``_leave`` gives the slot back at once

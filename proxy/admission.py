"""The limits of what one process accepts, and the answer to a request beyond them.

Too much load must cost little, and accepted requests must be answered in time. Every gunicorn process has its own
limits, so the totals are these times gunicorn's ``workers``. ``held_bodies`` and ``slots`` enforce them.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.problems import Problem

OVERLOADED = "more requests than the model can answer; try again"
RETRY_AFTER = {"Retry-After": "1"}


@dataclass(frozen=True, kw_only=True)
class AdmissionLimits:
    """What one process accepts.

    Attributes:
        slots: Memes sent to TorchServe at once: with two processes, two batches. More slots give no more predictions:
            TorchServe queues the rest, where they cannot be cancelled, and answers in bursts that delay refusals.
        slot_bytes: Bytes of forms sent to TorchServe at once; Java keeps 2.4 copies of each. One form always fits.
        max_waiting: Requests that wait for a slot.
        max_wait_s: How long a request may wait for a slot. A request that is expected to wait longer than a fourth of
            it is refused at once, so that few run into this limit when the model becomes slower.
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
    """Return the answer to a request that is refused for lack of room."""
    return Problem(503, "overloaded", detail, headers=RETRY_AFTER)

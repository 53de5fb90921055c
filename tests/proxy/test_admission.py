"""Requests beyond the limits are refused, and others are not; requests are threads here."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from proxy.admission import AdmissionLimits
from proxy.held_bodies import HeldBodies
from proxy.log_limit import LineLimit
from proxy.problems import Problem
from proxy.slots import Slots, _Waiter


def make(**limits: Any) -> Slots:
    return Slots(AdmissionLimits(**limits))


def is_here() -> bool:
    return False


def is_gone() -> bool:
    return True


def take(slots: Slots, seconds: float = 0.0, num_bytes: int = 1) -> int:
    """Ask for a slot and keep it for a while; returns the status of the refusal, 200 without one."""
    try:
        with slots.take(num_bytes, is_here):
            time.sleep(seconds)
    except Problem as problem:
        return problem.status
    return 200


def test_no_more_are_served_at_once_than_there_are_slots() -> None:
    slots = make(slots=3)
    counts: list[int] = []
    running: set[int] = set()

    def serve(number: int) -> None:
        with slots.take(1, is_here):
            running.add(number)
            counts.append(len(running))
            time.sleep(0.01)
            running.discard(number)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(serve, range(36)))
    assert max(counts) == 3


def test_large_forms_take_more_than_a_slot() -> None:
    slots = make(slots=10, slot_bytes=100, max_wait_s=0.05)
    with slots.take(60, is_here):
        assert take(slots, num_bytes=60) == 503
        assert take(slots, num_bytes=40) == 200
    assert take(slots, num_bytes=1000) == 200  # one alone always fits


def test_the_surplus_is_refused_without_waiting() -> None:
    slots = make(slots=1, max_waiting=1, max_wait_s=30.0)
    with ThreadPoolExecutor(2) as pool:
        with slots.take(1, is_here):
            waits = pool.submit(take, slots)
            while not slots.is_full:
                time.sleep(0.001)
            assert take(slots) == 503  # would the test's time limit pass if it waited?
        assert waits.result() == 200


def test_nobody_waits_longer_than_useful() -> None:
    slots = make(slots=1, max_wait_s=0.1)
    with (
        slots.take(1, is_here),
        pytest.raises(Problem, match=r"not free within 0\.1 s"),
        slots.take(1, is_here),
    ):
        pass
    assert take(slots) == 200


def test_fewer_may_wait_where_the_model_is_slow() -> None:
    """At most 20 a second are served: of 64 places in the queue, those served within a second are of use."""
    slots = make(slots=1, max_waiting=64, max_wait_s=4.0)
    served = threading.Semaphore(0)

    def ask() -> None:
        take(slots, 0.05)
        served.release()

    with ThreadPoolExecutor(60) as pool:
        for _ in range(60):
            pool.submit(ask)
        assert not slots.is_full  # nothing is known of the rate yet
        for _ in range(20):
            served.acquire()
        assert slots.is_full  # though no more than 40 wait


def test_who_has_left_costs_nothing() -> None:
    slots = make(slots=1)
    with pytest.raises(Problem, match="closed its connection"), slots.take(1, is_gone):
        pytest.fail("it was served")
    assert take(slots) == 200


def test_who_has_left_says_nothing_about_how_fast_the_model_is() -> None:
    slots = make(slots=1, max_waiting=64)
    with ThreadPoolExecutor(1) as pool, slots.take(1, is_here):
        waits = pool.submit(take, slots)
        while not slots._waiting:
            time.sleep(0.001)
        for _ in range(40):
            slots._waiting.appendleft(left := _Waiter(1, is_gone))
            slots._forget_the_gone()
            slots._leave(left, is_served=False)
            slots._looked_s = 0.0
        assert not slots._completed_s
    assert waits.result() == 200


def test_who_has_left_makes_room_in_the_queue() -> None:
    slots = make(slots=1, max_waiting=1, max_wait_s=30.0)
    has_left = threading.Event()

    def leave() -> str:
        with pytest.raises(Problem) as raised, slots.take(1, has_left.is_set):
            pass
        return raised.value.code

    with ThreadPoolExecutor(1) as pool, slots.take(1, is_here):
        leaver = pool.submit(leave)
        while not slots.is_full:
            time.sleep(0.001)
        has_left.set()
        assert leaver.done() or wait_for(lambda: not slots.is_full)
        assert leaver.result() == "client_gone"


def wait_for(condition: Any) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


def test_bodies_are_bounded_together() -> None:
    bodies = HeldBodies(AdmissionLimits(body_bytes=100))
    with bodies.reading(lambda: None) as first:
        bodies.received(first, 60)
        with bodies.reading(lambda: None) as second, pytest.raises(Problem, match="exceed 100 bytes"):
            bodies.received(second, 60)
        with bodies.reading(lambda: None) as third:
            bodies.received(third, 40)


def test_the_slowest_reader_makes_room() -> None:
    bodies = HeldBodies(AdmissionLimits(body_bytes=100))
    cut_off: list[str] = []
    with bodies.reading(lambda: cut_off.append("slow")) as slow:
        slow.began_s -= 10.0
        bodies.received(slow, 60)
        with bodies.reading(lambda: cut_off.append("quick")) as quick:
            bodies.received(quick, 60)
    assert (cut_off, slow.is_evicted, quick.is_evicted) == (["slow"], True, False)


def test_a_body_that_is_read_is_not_taken_away() -> None:
    bodies = HeldBodies(AdmissionLimits(body_bytes=100))
    with bodies.reading(lambda: pytest.fail("it was cut off")) as held:
        held.began_s -= 10.0
        bodies.received(held, 60)
        held.is_reading = False
        with bodies.reading(lambda: None) as late, pytest.raises(Problem):
            bodies.received(late, 60)


def test_lines_left_out_of_a_log_are_counted() -> None:
    limit = LineLimit(lines_per_s=2)
    records = [logging.LogRecord("x", logging.WARNING, "x", 1, "line %d", (number,), None) for number in range(9)]
    passed = [record for record in records if limit.filter(record)]
    assert 2 <= len(passed) <= 4  # a second may begin meanwhile
    limit._second = -1
    last = logging.LogRecord("x", logging.WARNING, "x", 1, "last", (), None)
    assert limit.filter(last)
    assert last.getMessage() == f"last [{9 - len(passed)} lines before it were left out]"

"""Threads that decode at once share one memory budget."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from memeguard.pictures.budget import MemoryBudget


def test_threads_never_hold_more_than_there_is() -> None:
    budget, lock, held, most = MemoryBudget(100), threading.Lock(), 0, 0

    def hold(num_bytes: int) -> None:
        nonlocal held, most
        with budget.take(num_bytes):
            with lock:
                held += num_bytes
                most = max(most, held)
            time.sleep(0.005)
            with lock:
                held -= num_bytes

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, [10, 60, 30, 100, 45] * 8))
    assert 50 < most <= 100


def test_who_wants_more_than_there_is_gets_all_of_it() -> None:
    with MemoryBudget(100).take(1000):
        pass


def test_memory_comes_back_after_an_error() -> None:
    budget = MemoryBudget(100)
    with pytest.raises(ValueError, match="damaged"), budget.take(100):
        raise ValueError("damaged")
    with budget.take(100):
        pass

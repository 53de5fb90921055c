"""Features are computed once, whatever happens to the file that holds them."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from training.feature_cache import FeatureCache, feature_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = [feature_key(b"picture", f"caption {number}") for number in range(3)]
FEATURES = {key: np.full(8, number, dtype=np.float32) for number, key in enumerate(KEYS)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "features.sqlite"


@pytest.fixture
def cache(path: Path) -> Iterator[FeatureCache]:
    cache = FeatureCache(path)
    yield cache
    cache.close()


def test_what_was_written_is_read_by_the_next_run(path: Path, cache: FeatureCache) -> None:
    cache.write(FEATURES)
    cache.close()
    other = FeatureCache(path)
    found = other.read(KEYS)
    other.close()
    assert found.keys() == set(KEYS)
    assert all(np.array_equal(found[key], FEATURES[key]) for key in KEYS)


def test_a_key_tells_pictures_and_captions_apart() -> None:
    assert len({feature_key(b"a", "b"), feature_key(b"a", "c"), feature_key(b"c", "b"), feature_key(b"ab", "")}) == 4


def test_a_damaged_entry_counts_as_missing(path: Path, cache: FeatureCache) -> None:
    cache.write(FEATURES)
    with sqlite3.connect(path) as database:
        value = bytearray(database.execute("SELECT value FROM features WHERE key = ?", (KEYS[1],)).fetchone()[0])
        value[-1] ^= 1
        database.execute("UPDATE features SET value = ? WHERE key = ?", (bytes(value), KEYS[1]))
    database.close()
    assert cache.read(KEYS).keys() == {KEYS[0], KEYS[2]}


def test_a_file_that_is_no_cache_costs_the_cache_and_not_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "features.sqlite").write_bytes(b"no database at all" * 99)
    cache = FeatureCache(tmp_path / "features.sqlite")
    cache.write(FEATURES)
    assert cache.read(KEYS) == {}
    assert "is not used: file is not a database" in capsys.readouterr().err


def test_a_full_disk_costs_the_cache_and_not_the_run(
    path: Path, cache: FeatureCache, capsys: pytest.CaptureFixture[str]
) -> None:
    cache._database.execute("PRAGMA max_page_count = 4")
    cache.write({feature_key(b"", str(number)): np.zeros(4096, np.float32) for number in range(99)})
    assert cache.read(KEYS) == {}
    assert "database or disk is full" in capsys.readouterr().err


def test_a_write_that_fails_leaves_nothing_behind(path: Path, cache: FeatureCache) -> None:
    cache._database.execute("PRAGMA max_page_count = 8")
    many = {feature_key(b"", str(number)): np.zeros(1024, np.float32) for number in range(99)}
    cache.write(many)
    other = FeatureCache(path)
    assert other.read(list(many)) == {}
    other.close()


@pytest.mark.parametrize("number_of_the_file", range(20))
def test_several_runs_start_at_once_on_one_file(number_of_the_file: int, path: Path) -> None:
    """One in forty files refused a run when runs switched its journal to WAL."""
    start = threading.Barrier(8)

    def run(number: int) -> int:
        start.wait()
        cache = FeatureCache(path)
        keys = [feature_key(bytes([number]), str(step)) for step in range(3)]
        for key in keys:
            cache.write({key: np.full(64, number, np.float32)})
        found = cache.read(keys)
        cache.close()
        return len(found)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(8))) == [3] * 8

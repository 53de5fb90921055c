"""The same meme needs no second inference; another one always does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memeguard.errors import DamagedImageError
from memeguard.predictor import Verdict
from memeguard.reposts import RepostCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memeguard.reposts import Meme, Outcome


class Judge:
    """Gives each meme it is asked about the next number, and refuses the picture b"damaged"."""

    def __init__(self) -> None:
        self.asked: list[list[Meme]] = []
        self._number = 0

    def __call__(self, memes: Sequence[Meme]) -> list[Outcome]:
        self.asked.append(list(memes))
        return [self._judge(meme) for meme in memes]

    def _judge(self, meme: Meme) -> Outcome:
        self._number += 1
        return DamagedImageError("no") if meme[0] == b"damaged" else Verdict("Offensive", 0.0, float(self._number))


@pytest.fixture
def judge() -> Judge:
    return Judge()


def numbers(outcomes: Sequence[Outcome]) -> list[float]:
    return [outcome.logit for outcome in outcomes if isinstance(outcome, Verdict)]


def test_a_repost_is_answered_without_judging(judge: Judge) -> None:
    cache = RepostCache(10)
    first = cache.answer([(b"picture", "text"), (b"picture", "other")], judge)
    again = cache.answer([(b"new", "text"), (b"picture", "other"), (b"picture", b"text")], judge)
    assert numbers(again) == [3.0, 2.0, 1.0]
    assert numbers(first) == [1.0, 2.0]
    assert judge.asked == [[(b"picture", "text"), (b"picture", "other")], [(b"new", "text")]]
    assert cache.take_counts() == {"RepostCacheHits": 2, "RepostCacheMisses": 3}
    assert cache.take_counts() == {"RepostCacheHits": 0, "RepostCacheMisses": 0}


def test_twice_in_one_batch_is_judged_once(judge: Judge) -> None:
    assert numbers(RepostCache(10).answer([(b"a", "1"), (b"b", "1"), (b"a", "1")], judge)) == [1.0, 2.0, 1.0]


def test_when_all_are_known_nobody_is_asked(judge: Judge) -> None:
    cache = RepostCache(10)
    cache.answer([(b"a", "1")], judge)
    cache.answer([(b"a", "1"), (b"a", "1")], judge)
    assert len(judge.asked) == 1


def test_what_differs_anywhere_is_another_meme(judge: Judge) -> None:
    """However the bytes of picture and caption fall together, and whatever is missing or empty."""
    memes: list[Meme] = [
        (b"ab", "c"), (b"a", "bc"), (b"abc", ""), (b"", "abc"), (None, "abc"), (b"abc", None), (None, None), (b"", ""),
        (b"ab", "C"), (b"ab", "c "), (None, ""), (b"", None), (b"ab", "\ud800"),
    ]  # fmt: skip
    cache = RepostCache(100)
    assert numbers(cache.answer(memes, judge)) == [float(number) for number in range(1, len(memes) + 1)]
    assert cache.take_counts()["RepostCacheHits"] == 0


def test_the_oldest_is_forgotten_first_and_a_repost_makes_it_young(judge: Judge) -> None:
    cache = RepostCache(2)
    a, b, c = [(name, "text") for name in (b"a", b"b", b"c")]
    cache.answer([a, b], judge)
    cache.answer([a], judge)
    cache.answer([c], judge)  # b goes
    cache.take_counts()
    cache.answer([a, c], judge)
    assert cache.take_counts() == {"RepostCacheHits": 2, "RepostCacheMisses": 0}
    cache.answer([b], judge)
    assert cache.take_counts() == {"RepostCacheHits": 0, "RepostCacheMisses": 1}


def test_a_batch_larger_than_the_cache_is_answered_whole(judge: Judge) -> None:
    memes: list[Meme] = [(bytes([number]), "") for number in range(9)]
    assert numbers(RepostCache(3).answer(memes, judge)) == [float(number) for number in range(1, 10)]


def test_errors_are_not_remembered(judge: Judge) -> None:
    cache = RepostCache(10)
    for _ in range(2):
        (outcome,) = cache.answer([(b"damaged", "text")], judge)
        assert isinstance(outcome, DamagedImageError)
    assert len(judge.asked) == 2


def test_with_no_entries_nothing_is_remembered_or_counted(judge: Judge) -> None:
    cache = RepostCache(0)
    assert numbers(cache.answer([(b"a", "1"), (b"a", "1")], judge)) == [1.0, 2.0]
    assert numbers(cache.answer([(b"a", "1")], judge)) == [3.0]
    assert cache.take_counts() == {"RepostCacheHits": 0, "RepostCacheMisses": 0}


@pytest.mark.parametrize("size", [-1, 1.5, "10", None, True])
def test_a_size_that_makes_no_sense_is_refused(size: object) -> None:
    with pytest.raises(ValueError, match=r"repost_cache is .*; it must be a whole number of at least 0"):
        RepostCache(size)  # type: ignore[arg-type]

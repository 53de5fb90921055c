"""How far chance alone may move a figure: bootstrap intervals, Wilson's interval, McNemar's test.

Shape suffixes: N memes, R resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import binomtest

from evaluation.metrics import weighted_figures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from evaluation.metrics import Scores

NUM_RESAMPLES: Final = 2000
_WEIGHTS_AT_ONCE: Final = 2**20  # one for each meme and resample; a few arrays of 8 bytes each live at once


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and its 95 % interval; all are None where the figure is not defined, as AUROC with one label only."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """McNemar's exact test: does each of two models get the same number of memes right that the other gets wrong?

    Attributes:
        only_first_right: Memes that only the first model gets right.
        only_second_right: Memes that only the second model gets right.
        p_value: Two-sided; 1 if both models are right about the same memes.
    """

    only_first_right: int
    only_second_right: int
    p_value: float


def bootstrap_figures(
    scores: dict[str, Scores],
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
    compute: Callable[[Scores, NDArray[np.float64]], dict[str, NDArray[np.float64]]] = weighted_figures,
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Every figure [R] of every model on the same resamples of the memes, so that differences are paired.

    Args:
        scores: Of the same memes by several models, one at least.
        seed: The same seed draws the same resamples.
        num_resamples: R.
        compute: The figures [R] of one model's scores on R weightings of its memes.
    """
    num = len(next(iter(scores.values())).labels)
    parts: dict[str, list[dict[str, NDArray[np.float64]]]] = {name: [] for name in scores}
    for weights_RN in _draw_resamples(num, num_resamples, seed):
        for name, one in scores.items():
            parts[name].append(compute(one, weights_RN))
    return {
        name: {figure: np.concatenate([part[figure] for part in chunks]) for figure in chunks[0]}
        for name, chunks in parts.items()
    }


def make_estimate(value: float, resampled_R: NDArray[np.float64]) -> Estimate:
    """The percentile interval (Efron & Tibshirani 1993, chapter 13); resamples with one label only do not count."""
    defined = resampled_R[np.isfinite(resampled_R)]
    if not np.isfinite(value) or not len(defined):
        return Estimate(value=None, low=None, high=None)
    low, high = np.quantile(defined, [0.025, 0.975])
    return Estimate(value=value, low=float(low), high=float(high))


def make_centred_estimate(value: float, resampled_R: NDArray[np.float64], *, least: float = -math.inf) -> Estimate:
    """The percentile interval, moved by the bias of the resamples, for the calibration error and its changes.

    A resample has fewer different memes in a bin, whose share varies the more: its calibration error is larger than
    that of the memes, often in nearly all resamples.

    Args:
        value: The figure.
        resampled_R: The figure on R resamples.
        least: Lowest possible value of the figure.
    """
    moved = make_estimate(value, resampled_R - (resampled_R.mean() - value))
    if moved.low is None or moved.high is None:
        return moved
    return Estimate(value=value, low=max(least, moved.low), high=max(least, moved.high))


def wilson_interval(hits: int, num: int) -> tuple[float, float]:
    """Wilson's 95 % interval (1927) of a share; it stays within [0, 1] for the few memes of a bin."""
    interval = binomtest(hits, num).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def compare_answers(first: Scores, second: Scores) -> McNemar:
    """McNemar's exact test (1947) on the answers of two models to the same memes."""
    first_right, second_right = first.predicted == first.labels, second.predicted == second.labels
    only_first, only_second = int(np.sum(first_right & ~second_right)), int(np.sum(~first_right & second_right))
    num = only_first + only_second
    p_value = float(binomtest(only_first, num, 0.5).pvalue) if num else 1.0
    return McNemar(only_first_right=only_first, only_second_right=only_second, p_value=p_value)


def _draw_resamples(num: int, num_resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Draw ``num`` of ``num`` memes with replacement, and count how often each came up: [at most a chunk, N]."""
    random = np.random.default_rng(seed)
    at_once = max(1, _WEIGHTS_AT_ONCE // num)
    for start in range(0, num_resamples, at_once):
        rows = min(at_once, num_resamples - start)
        drawn = random.integers(0, num, (rows, num)) + np.arange(rows)[:, None] * num
        yield np.bincount(drawn.ravel(), minlength=rows * num).reshape(rows, num).astype(np.float64)

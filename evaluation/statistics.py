"""Figures of scored memes, and how far chance alone may move them: bootstrap, Wilson's interval, McNemar's test.

Offensive is the positive class; scores are probabilities of being **non-offensive**. Does not know where scores come
from, nor how figures are shown. Shapes: N memes, R resamples, G distinct scores, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import binomtest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

NUM_RESAMPLES: Final = 2000
NUM_BINS: Final = 15  # Guo et al. 2017, "On Calibration of Modern Neural Networks"
FIGURES: Final = (
    "accuracy",
    "macro_f1",
    "weighted_f1",
    "offensive_f1",
    "auroc",
    "average_precision",
    "ece",
    "brier",
)
_WEIGHTS_AT_ONCE: Final = 2**20  # one for each meme and resample; a few arrays of 8 bytes each live at once
_NORMAL_975: Final = 1.959964  # the standard normal's 97.5 % quantile


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one model makes of N memes.

    Attributes:
        labels: int64 [N], 1 = offensive.
        probabilities: float64 [N] of being non-offensive.
        threshold: From this probability on the answer is "non-offensive".
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    threshold: float

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Answers [N], 1 = offensive."""
        return (self.probabilities < self.threshold).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and its 95 % interval; all None where it is not defined, as AUROC is not for one class."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """McNemar's exact test: of the memes that only one of two models judges rightly, is it each equally often?

    Attributes:
        only_first_right: Memes the first model alone judges rightly.
        only_second_right: Memes the second one alone judges rightly.
        p_value: Two-sided; 1 where no meme tells the two apart.
    """

    only_first_right: int
    only_second_right: int
    p_value: float


def compute_figures(scores: Scores) -> dict[str, float]:
    """Every one of ``FIGURES`` on the memes as they are; nan where it is not defined."""
    weights_1N = np.ones((1, len(scores.labels)))
    return {name: float(values[0]) for name, values in weighted_figures(scores, weights_1N).items()}


def bootstrap_figures(
    scores: dict[str, Scores], *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Every figure [R] of every model on the same resamples of the memes, so that differences are paired.

    Args:
        scores: Of the same memes by several models, one at least.
        seed: Same seed, same resamples.
        num_resamples: R.
    """
    num = len(next(iter(scores.values())).labels)
    parts: dict[str, list[dict[str, NDArray[np.float64]]]] = {name: [] for name in scores}
    for weights_RN in _draw_resamples(num, num_resamples, seed):
        for name, one in scores.items():
            parts[name].append(weighted_figures(one, weights_RN))
    return {
        name: {figure: np.concatenate([part[figure] for part in chunks]) for figure in FIGURES}
        for name, chunks in parts.items()
    }


def make_estimate(value: float, resampled_R: NDArray[np.float64]) -> Estimate:
    """The percentile interval (Efron & Tibshirani 1993, chapter 13); resamples of one class do not count."""
    defined = resampled_R[np.isfinite(resampled_R)]
    if not np.isfinite(value) or not len(defined):
        return Estimate(value=None, low=None, high=None)
    low, high = np.quantile(defined, [0.025, 0.975])
    return Estimate(value=value, low=float(low), high=float(high))


def weighted_figures(scores: Scores, weights_RN: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Every one of ``FIGURES`` [R] on R weightings of the memes; weights count how often each was drawn."""
    offensive = scores.labels == 1
    risk = 1.0 - scores.probabilities  # of being offensive
    with np.errstate(invalid="ignore", divide="ignore"):  # what is not defined becomes nan
        return {
            **_decision_figures(offensive, scores.predicted == 1, weights_RN),
            **_ranking_figures(offensive, risk, weights_RN),
            "ece": _calibration_error(offensive, risk, weights_RN),
            "brier": weights_RN @ (risk - offensive) ** 2 / weights_RN.sum(axis=1),
        }


def bin_scores(risk: NDArray[np.float64], num_bins: int = NUM_BINS) -> NDArray[np.int64]:
    """The bin [N] of each score: equal widths over [0, 1], closed above as Guo et al. have them."""
    return np.clip(np.ceil(risk * num_bins).astype(np.int64) - 1, 0, num_bins - 1)


def wilson_interval(hits: int, num: int) -> tuple[float, float]:
    """Wilson's 95 % interval (1927) of a share; it stays within [0, 1] for the few memes of a bin."""
    share, square = hits / num, _NORMAL_975**2
    centre = (share + square / (2 * num)) / (1 + square / num)
    half = _NORMAL_975 / (1 + square / num) * (share * (1 - share) / num + square / (4 * num**2)) ** 0.5
    # Rounding may put a bound beyond 0 or 1, or the share of all or none outside its own interval.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


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


def _decision_figures(
    offensive: NDArray[np.bool_], predicted: NDArray[np.bool_], weights_RN: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    hits, rejections, wrong = (
        weights_RN @ rows.astype(np.float64)
        for rows in (offensive & predicted, ~offensive & ~predicted, offensive != predicted)
    )
    total, positive = weights_RN.sum(axis=1), weights_RN @ offensive.astype(np.float64)
    # 2 TP / (2 TP + FP + FN); a class that neither occurs nor is answered scores 0, as scikit-learn's zero_division=0.
    f1, other_f1 = (np.nan_to_num(2 * right / (2 * right + wrong)) for right in (hits, rejections))
    return {
        "accuracy": (hits + rejections) / total,
        "macro_f1": (f1 + other_f1) / 2,
        "weighted_f1": (f1 * positive + other_f1 * (total - positive)) / total,
        "offensive_f1": f1,
    }


def _ranking_figures(
    offensive: NDArray[np.bool_], risk: NDArray[np.float64], weights_RN: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Rank once, highest risk first; memes of equal risk are one group, which no threshold parts."""
    order = np.argsort(-risk, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(risk[order]) != 0))
    ordered_RN, positive_N = weights_RN[:, order], offensive[order].astype(np.float64)
    positives_RG = np.add.reduceat(ordered_RN * positive_N, starts, axis=1)
    negatives_RG = np.add.reduceat(ordered_RN * (1 - positive_N), starts, axis=1)
    hits_RG, alarms_RG = positives_RG.cumsum(axis=1), negatives_RG.cumsum(axis=1)
    num_positive, num_negative = hits_RG[:, -1], alarms_RG[:, -1]
    # A positive wins against every negative that ranks lower and half against every one of equal risk.
    lower_RG = num_negative[:, None] - alarms_RG + negatives_RG / 2
    precision_RG = np.nan_to_num(hits_RG / (hits_RG + alarms_RG))  # 0 / 0 where nothing drawn ranks so high yet
    return {
        "auroc": (positives_RG * lower_RG).sum(axis=1) / (num_positive * num_negative),
        "average_precision": (positives_RG * precision_RG).sum(axis=1) / num_positive,
    }


def _calibration_error(
    offensive: NDArray[np.bool_], risk: NDArray[np.float64], weights_RN: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean gap between risk and share of offensive memes over the bins, weighted by their memes.

    Guo et al. bin the probability of the answer; with two classes, that of being offensive says the same and more:
    it does not depend on the threshold, and it is what the reliability curve shows.
    """
    bins_NB = np.eye(NUM_BINS)[bin_scores(risk)]
    gaps_RB = weights_RN @ (bins_NB * (risk - offensive)[:, None])
    error: NDArray[np.float64] = np.abs(gaps_RB).sum(axis=1) / weights_RN.sum(axis=1)
    return error

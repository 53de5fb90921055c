"""How far probabilities can be believed: calibration error, Brier score and reliability, before and after.

Shape suffixes: N memes, B bins, D draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evaluation.curves import bin_reliability
from evaluation.metrics import NUM_BINS, Scores, bin_scores, compute_calibration, weighted_calibration
from evaluation.statistics import (
    NUM_RESAMPLES,
    Estimate,
    bootstrap_figures,
    make_centred_estimate,
    make_estimate,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evaluation.result import ReliabilityBin

_LABELS_AT_ONCE: Final = 2**20  # of 8 bytes each


@dataclass(frozen=True, kw_only=True)
class CalibrationFigures:
    """How well the probabilities of one model are calibrated; ECE and Brier score have 95 % bootstrap intervals.

    Attributes:
        mean_risk: Mean predicted probability of being offensive.
        ece: Expected calibration error over ``metrics.NUM_BINS`` bins.
        ece_by_chance: The ECE that these probabilities would have if they were perfect: how large chance makes it.
        brier: Mean squared error of the probability.
        reliability: Reliability curve; bins without memes are left out.
    """

    mean_risk: float
    ece: Estimate
    ece_by_chance: Estimate
    brier: Estimate
    reliability: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, kw_only=True)
class CalibrationComparison:
    """The same memes and logits without calibration and with it.

    Attributes:
        num: Number of memes.
        offensive_share: Share of them that are offensive.
        before: Figures of the logits as they are.
        after: Figures of the calibrated probabilities.
        ece_change: Calibration error after minus before, on the same resamples.
        brier_change: Brier score after minus before, on the same resamples.
    """

    num: int
    offensive_share: float
    before: CalibrationFigures
    after: CalibrationFigures
    ece_change: Estimate
    brier_change: Estimate


def compare_calibration(
    labels: NDArray[np.int64],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    *,
    num_resamples: int = NUM_RESAMPLES,
) -> CalibrationComparison:
    """Compare probabilities of being non-offensive without calibration and with it.

    Args:
        labels: [N], 1 = offensive.
        before: Probabilities [N] without calibration.
        after: Probabilities [N] with it.
        num_resamples: Resamples of the bootstrap.
    """
    # The threshold has no part in these figures.
    scores = {
        name: Scores(labels=labels, probabilities=probabilities, threshold=0.5)
        for name, probabilities in (("before", before), ("after", after))
    }
    resampled = bootstrap_figures(scores, num_resamples=num_resamples, compute=weighted_calibration)
    values = {name: compute_calibration(one) for name, one in scores.items()}
    figures: dict[str, Any] = {
        name: CalibrationFigures(
            mean_risk=float(1.0 - one.probabilities.mean()),
            ece=make_centred_estimate(values[name]["ece"], resampled[name]["ece"], least=0.0),
            ece_by_chance=_draw_chance(1.0 - one.probabilities, num_resamples),
            brier=make_estimate(values[name]["brier"], resampled[name]["brier"]),
            reliability=bin_reliability(one),
        )
        for name, one in scores.items()
    }
    changes: dict[str, Any] = {
        f"{figure}_change": make_centred_estimate(
            values["after"][figure] - values["before"][figure], resampled["after"][figure] - resampled["before"][figure]
        )
        for figure in values["after"]
    }
    return CalibrationComparison(num=len(labels), offensive_share=float(labels.mean()), **figures, **changes)


def _draw_chance(risk: NDArray[np.float64], num_draws: int, *, seed: int = 0) -> Estimate:
    """The mean calibration error if each label were drawn with its risk, and where 95 % of the draws lie.

    This is consistency resampling (Bröcker & Smith 2007, "Increasing the Reliability of Reliability Diagrams").
    """
    random = np.random.default_rng(seed)
    bins_NB = np.eye(NUM_BINS)[bin_scores(risk)]
    at_once = max(1, _LABELS_AT_ONCE // len(risk))
    errors = []
    for start in range(0, num_draws, at_once):
        labels_DN = random.random((min(at_once, num_draws - start), len(risk))) < risk
        errors.append(np.abs((labels_DN - risk) @ bins_NB).sum(axis=1) / len(risk))
    drawn_D = np.concatenate(errors)
    return make_estimate(float(drawn_D.mean()), drawn_D)

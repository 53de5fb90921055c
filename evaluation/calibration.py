"""How far probabilities can be believed: calibration error, Brier score and reliability, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evaluation.curves import bin_reliability
from evaluation.metrics import Scores, compute_calibration, weighted_calibration
from evaluation.statistics import NUM_RESAMPLES, Estimate, bootstrap_figures, make_estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evaluation.result import ReliabilityBin


@dataclass(frozen=True, kw_only=True)
class CalibrationFigures:
    """How well the probabilities of one model are calibrated; estimates have 95 % bootstrap intervals.

    Attributes:
        mean_risk: Mean predicted probability of being offensive.
        ece: Expected calibration error over ``metrics.NUM_BINS`` bins.
        brier: Mean squared error of the probability.
        reliability: Reliability curve; bins without memes are left out.
    """

    mean_risk: float
    ece: Estimate
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
            reliability=bin_reliability(one),
            **{figure: make_estimate(value, resampled[name][figure]) for figure, value in values[name].items()},
        )
        for name, one in scores.items()
    }
    changes: dict[str, Any] = {
        f"{figure}_change": make_estimate(
            values["after"][figure] - values["before"][figure], resampled["after"][figure] - resampled["before"][figure]
        )
        for figure in values["after"]
    }
    return CalibrationComparison(num=len(labels), offensive_share=float(labels.mean()), **figures, **changes)

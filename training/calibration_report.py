"""Choose how logits become verdicts, by memes that the model was not trained on, and report how well they do."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from evaluation.calibration import compare_calibration
from evaluation.metrics import Scores, to_probabilities
from evaluation.operating_points import find_misses, resolve_all
from evaluation.threshold_curve import measure_threshold, trace_thresholds
from training.calibration import calibrate, calibrate_in_folds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from evaluation.operating_points import Target
    from memeguard.config import LabelConfig

VALIDATION: Final = "validation"
OUT_OF_FOLD: Final = "out-of-fold"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Predictions of N memes by a model that was not trained on them.

    Attributes:
        name: ``OUT_OF_FOLD`` or ``VALIDATION``.
        labels: int64 [N], 1 = offensive.
        logits: float64 [N], positive means offensive.
    """

    name: str
    labels: NDArray[np.int64]
    logits: NDArray[np.float64]

    def probabilities(self, config: LabelConfig) -> NDArray[np.float64]:
        """Probabilities [N] of being non-offensive."""
        return to_probabilities(self.logits, config.temperature, config.shift)


class Verdicts(NamedTuple):
    """How logits become verdicts, its part of the training report, and warnings for people."""

    labels: LabelConfig
    report: dict[str, Any]
    warnings: list[str]


def choose_verdicts(fitting: HeldOut, validation: HeldOut, targets: Sequence[Target] = ()) -> Verdicts:
    """Calibrate, choose the threshold and resolve the operating points, and measure all of them.

    Args:
        fitting: The memes to choose by.
        validation: The memes of the validation split; they may be the same.
        targets: Operating points; those that the memes cannot support are reported as refused.
    """
    labels = calibrate(fitting.labels, fitting.logits)
    curve = trace_thresholds(fitting.labels, fitting.probabilities(labels), fitting.name)
    points, refused = resolve_all(targets, curve)
    labels = dataclasses.replace(labels, operating_points={name: point.threshold for name, point in points.items()})
    scores = Scores(
        labels=validation.labels, probabilities=validation.probabilities(labels), threshold=labels.threshold
    )
    measured = {name: measure_threshold(point.threshold, scores) for name, point in points.items()}
    report = {
        "threshold": labels.threshold,
        "temperature": labels.temperature,
        "shift": labels.shift,
        "calibration": _compare(fitting, validation, labels),
        "threshold_curve": dataclasses.asdict(curve),
        "operating_points": {
            name: {fitting.name: dataclasses.asdict(point), VALIDATION: dataclasses.asdict(measured[name])}
            for name, point in points.items()
        },
        "operating_points_refused": refused,
    }
    return Verdicts(labels, report, find_misses(targets, measured, fitting.name, VALIDATION))


def _compare(fitting: HeldOut, validation: HeldOut, labels: LabelConfig) -> dict[str, Any]:
    """Figures before and after calibration; of the memes that it was fitted to, each is calibrated without it."""
    after = {
        VALIDATION: validation.probabilities(labels),
        fitting.name: calibrate_in_folds(fitting.labels, fitting.logits),
    }
    return {
        "fitted_on": fitting.name,
        **{
            one.name: dataclasses.asdict(compare_calibration(one.labels, to_probabilities(one.logits), after[one.name]))
            for one in (fitting, validation)
        },
    }

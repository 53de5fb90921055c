"""The functional test in short, as the card of an archive shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evaluation.functional.builtin import read_builtin
from evaluation.functional.figures import average_accuracy, find_worst, measure_functionalities, measure_groups
from evaluation.functional.result import GREY
from evaluation.functional.scoring import score_suite
from evaluation.metrics import compute_auroc
from memes.meme import DataError

if TYPE_CHECKING:
    from evaluation.statistics import Estimate
    from memeguard.torch_runtime import TorchPredictor

# One group of so many with each template. Archiving the starter takes a sixth more processor time; all would take half.
_EVERY: Final = 4


@dataclass(frozen=True, kw_only=True)
class FunctionalSummary:
    """What a quarter of the built-in functional test found, with a grey picture where a case has none.

    Attributes:
        suite_sha256: SHA-256 of the suite's file.
        num: Number of cases.
        auroc: Area under the ROC curve over all cases.
        mean_accuracy: Mean of the functionalities' accuracies.
        worst: Functionality with the lowest accuracy.
        worst_label: Label of its cases, "offensive" or "non-offensive".
        worst_accuracy: Share of right answers, with Wilson's interval.
        most_flagged_group: Group whose harmless mentions are flagged most often.
        most_flagged_rate: Share of these that are flagged, with Wilson's interval.
    """

    suite_sha256: str
    num: int
    auroc: float
    mean_accuracy: float
    worst: str
    worst_label: str
    worst_accuracy: Estimate
    most_flagged_group: str
    most_flagged_rate: Estimate


def summarize_builtin(predictor: TorchPredictor) -> FunctionalSummary | None:
    """Run a quarter of the built-in functional test; None if the model is made for captions too short for it.

    Raises:
        BundleError: An answer is not a number.
    """
    suite = read_builtin(_EVERY)
    try:
        scores = score_suite(predictor, suite)[GREY]
    except DataError:
        return None
    functionalities = tuple(measure_functionalities(suite, scores))
    worst = find_worst(functionalities)
    most_flagged = max(measure_groups(suite, scores), key=lambda group: group.false_positive_rate.value or 0.0)
    return FunctionalSummary(
        suite_sha256=suite.sha256,
        num=len(suite.cases),
        auroc=compute_auroc(scores.labels, 1.0 - scores.probabilities),
        mean_accuracy=average_accuracy(functionalities),
        worst=worst.name,
        worst_label=worst.label,
        worst_accuracy=worst.accuracy,
        most_flagged_group=most_flagged.name,
        most_flagged_rate=most_flagged.false_positive_rate,
    )

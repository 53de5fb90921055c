"""The result of an evaluation; ``dataclasses.asdict`` makes JSON of it.

Offensive is the positive class. A figure that is not defined is None, such as AUROC if only one label occurs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from evaluation.calibration import CalibrationComparison
    from evaluation.statistics import Estimate, McNemar
    from evaluation.threshold_curve import OperatingPoint

# Keys of ``EvaluationResult.models``: the bundle, its two halves, and the baselines.
MODEL: Final = "model"
IMAGE_ONLY: Final = "image-only"
TEXT_ONLY: Final = "text-only"
TFIDF: Final = "tfidf"
MAJORITY: Final = "majority"
UNCALIBRATED: Final = "uncalibrated"  # the bundle's logits as they are; among its scores, but no model of its own


@dataclass(frozen=True, kw_only=True)
class ModelFigures:
    """Figures of one model, each with its 95 % bootstrap interval.

    Attributes:
        threshold: From this probability of being non-offensive on, the answer is "non-offensive".
        accuracy: Share of correct answers.
        macro_f1: Mean of both labels' F1.
        weighted_f1: Mean of both labels' F1, weighted by how frequent the labels are.
        offensive_f1: F1 of the label offensive.
        auroc: Area under the ROC curve.
        average_precision: Area under the precision-recall curve, as a step function.
        ece: Expected calibration error over ``metrics.NUM_BINS`` bins.
        brier: Mean squared error of the probability.
    """

    threshold: float
    accuracy: Estimate
    macro_f1: Estimate
    weighted_f1: Estimate
    offensive_f1: Estimate
    auroc: Estimate
    average_precision: Estimate
    ece: Estimate
    brier: Estimate


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Number of memes of each label by the answer they got."""

    offensive_as_offensive: int
    offensive_as_non_offensive: int
    non_offensive_as_offensive: int
    non_offensive_as_non_offensive: int


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a curve."""

    x: float
    y: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One model's curve: false positive against true positive rate, or recall against precision."""

    model: str
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Memes of similar risk: their number, mean risk, share of offensive ones, and its Wilson interval."""

    num: int
    risk: float
    offensive_share: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ThresholdPoint:
    """The model's figures at another threshold; precision is None if no meme is flagged."""

    threshold: float
    accuracy: float
    macro_f1: float
    offensive_precision: float | None
    offensive_recall: float | None


@dataclass(frozen=True, kw_only=True)
class SliceFigures:
    """The model's figures on some of the memes."""

    aspect: str
    name: str
    num: int
    num_offensive: int
    accuracy: float
    auroc: float | None


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A wrong answer.

    Attributes:
        file: File that lists the meme.
        row: Row of that file, as in ``Meme.row``.
        image_path: Picture, relative to the data folder.
        text: Caption.
        label: Label in the data.
        prediction: The model's answer.
        confidence: The model's probability of its wrong answer.
    """

    file: str
    row: int
    image_path: str
    text: str
    label: str
    prediction: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """What an evaluation of one bundle on one split found.

    Attributes:
        bundle: Name of the bundle.
        bundle_sha256: SHA-256 of its config.json, which contains the hashes of the weights.
        backbone: Name of the backbone.
        backbone_commit: Commit of the backbone on the hub; None for a folder, and for a bundle of an older version.
        backbone_sha256: SHA-256 of the backbone's weights; None for ``tiny``, and for a bundle of an older version.
        data_sha256: SHA-256 of the files that list the memes.
        split: Split that was evaluated.
        num: Number of memes.
        num_offensive: Number of offensive memes.
        num_seen: Number of memes that have a near-duplicate in train.
        num_openings: How often the test split was opened with this bundle; None for other splits, and with a warning
            if it could not be counted.
        temperature: Number by which the bundle divides a logit before it becomes a probability.
        shift: Number that the bundle then adds to the log-odds of being offensive.
        num_resamples: Resamples of the bootstrap.
        created: Time in UTC, ISO 8601.
        memeguard_version: Version of this code.
        warnings: Reasons not to trust the figures or not to serve the model; empty at best.
        models: Figures of the bundle, of its two halves, and of the baselines, by name.
        auroc_difference: The model's AUROC minus that of TF-IDF, on the same resamples.
        mcnemar: The model's answers, first, against those of TF-IDF.
        confusion: Confusion matrix of the model.
        roc: ROC curves of the model and of TF-IDF; empty if only one label occurs.
        precision_recall: Precision-recall curves of the model and of TF-IDF; empty if only one label occurs.
        reliability: Reliability curve of the model; bins without memes are left out.
        calibration: The model's calibration error, Brier score and reliability curve without calibration and with it.
        thresholds: The model's figures at thresholds over [0, 1].
        operating_points: Figures of the bundle's operating points on this split, by name.
        slices: The model's figures on parts of the split.
        mistakes: Wrong answers, the most confident first.
        skipped: Faulty memes that were left out of the splits, a line each.
    """

    bundle: str
    bundle_sha256: str
    backbone: str
    backbone_commit: str | None
    backbone_sha256: str | None
    data_sha256: str
    split: str
    num: int
    num_offensive: int
    num_seen: int
    num_openings: int | None
    temperature: float
    shift: float
    num_resamples: int
    created: str
    memeguard_version: str
    warnings: tuple[str, ...]
    models: dict[str, ModelFigures]
    auroc_difference: Estimate
    mcnemar: McNemar
    confusion: Confusion
    roc: tuple[Curve, ...]
    precision_recall: tuple[Curve, ...]
    reliability: tuple[ReliabilityBin, ...]
    calibration: CalibrationComparison
    thresholds: tuple[ThresholdPoint, ...]
    operating_points: dict[str, OperatingPoint]
    slices: tuple[SliceFigures, ...]
    mistakes: tuple[Mistake, ...]
    skipped: tuple[str, ...] = ()

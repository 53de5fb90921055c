"""What an evaluation finds; ``dataclasses.asdict`` makes JSON of it. Does not know how any of it is computed or shown.

Offensive is the positive class. A figure that is not defined is None: AUROC where one class occurs alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from evaluation.statistics import Estimate, McNemar

# Keys of ``EvaluationReport.models``: the bundle, its two halves, and what it has to beat.
MODEL: Final = "model"
IMAGE_ONLY: Final = "image-only"
TEXT_ONLY: Final = "text-only"
TFIDF: Final = "tfidf"
MAJORITY: Final = "majority"


@dataclass(frozen=True, kw_only=True)
class ModelFigures:
    """How good one model is; each figure with its 95 % bootstrap interval.

    Attributes:
        threshold: Probability of being non-offensive from which its answer is "non-offensive".
        accuracy: Share of right answers.
        macro_f1: Mean of both labels' F1.
        weighted_f1: The same, weighted by how frequent the labels are.
        offensive_f1: F1 of the label offensive.
        auroc: Area under the ROC curve.
        average_precision: Area under the precision-recall curve, as a step function.
        ece: Expected calibration error over ``statistics.NUM_BINS`` bins.
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
    """How many memes of each label got each answer."""

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
    """Memes of about equal risk: how many, their mean risk, the share that is offensive, its Wilson interval."""

    num: int
    risk: float
    offensive_share: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ThresholdPoint:
    """What the model's answers would be worth at another threshold; precision is None where nothing is flagged."""

    threshold: float
    accuracy: float
    macro_f1: float
    offensive_precision: float | None
    offensive_recall: float | None


@dataclass(frozen=True, kw_only=True)
class SliceFigures:
    """The model on some of the memes."""

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
        file: That lists the meme.
        row: Of that file, as ``Meme.row``.
        image_path: The picture, below the data folder.
        text: The caption.
        label: What the CSV says.
        prediction: What the model says.
        confidence: Probability that the model gives its wrong answer.
    """

    file: str
    row: int
    image_path: str
    text: str
    label: str
    prediction: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """Everything that was found about one bundle on one split.

    Attributes:
        bundle: Its name.
        bundle_sha256: Of its config.json, which holds the hashes of the weights.
        backbone: What the bundle was made from.
        backbone_commit: Of the backbone's repository on the hub; None for a folder, and for a bundle that is older.
        backbone_sha256: Of the backbone's weights; None for one made from scratch, and for a bundle that is older.
        data_sha256: Of the split CSVs.
        split: Which memes.
        num: How many.
        num_offensive: How many of them are offensive.
        num_seen: How many have a near-duplicate in train.
        num_openings: How often the test split was opened with this bundle; None for other splits, and where it could
            not be counted, of which a warning tells.
        temperature: By which the bundle divides a logit before it becomes a probability.
        num_resamples: Of the bootstrap.
        created: When, in UTC.
        memeguard_version: By which code.
        warnings: Why the figures should not be trusted, or the model not be served; empty at best.
        models: The bundle, its two halves, and what it has to beat, by name.
        auroc_difference: The model's AUROC less that of TF-IDF, on the same resamples.
        mcnemar: The model's answers, first, against those of TF-IDF.
        confusion: Of the model.
        roc: Curves of the model and of TF-IDF; empty where one class occurs alone.
        precision_recall: The same.
        reliability: Of the model; bins without memes are left out.
        thresholds: Of the model, over [0, 1].
        slices: Of the model.
        mistakes: The most confident ones, most confident first.
        skipped: The faulty memes that were left out of the splits, a line each.
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
    thresholds: tuple[ThresholdPoint, ...]
    slices: tuple[SliceFigures, ...]
    mistakes: tuple[Mistake, ...]
    skipped: tuple[str, ...] = ()

"""Fine-tune a CLIP on labelled memes: train a classifier, calibrate it, and compare it with the baselines."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import memeguard
from evaluation.baselines import score_with_majority, score_with_tfidf
from evaluation.comparison import find_warnings, measure
from evaluation.metrics import Scores, measure_scores
from evaluation.result import MAJORITY, MODEL, TFIDF
from memeguard.bundle import Bundle
from training.calibration_report import OUT_OF_FOLD, VALIDATION, HeldOut, choose_verdicts
from training.config import TrainingConfig, TrainingError, describe_differences
from training.cross_validation import part_into_folds, predict_out_of_fold
from training.experiment import Experiment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from evaluation.operating_points import Target
    from memeguard.config import LabelConfig
    from memes.meme import Meme
    from training.backbones import Source
    from training.checkpoint import Checkpoints


class TrainingResult(NamedTuple):
    """The trained bundle and the training report, ready for JSON."""

    bundle: Bundle
    report: dict[str, Any]


def train(
    splits: Mapping[str, Sequence[Meme]],
    backbone_name: str,
    config: TrainingConfig,
    *,
    data_hash: str = "",
    skipped: Sequence[str] = (),
    cache_dir: Path | None = None,
    checkpoints: Checkpoints | None = None,
    operating_points: Sequence[Target] = (),
) -> TrainingResult:
    """Fine-tune the CLIP called ``backbone_name`` on ``splits``.

    Calibration and thresholds come from predictions of memes that the model was not trained on: out-of-fold predictions
    of the training split, or predictions of the validation split (see ``TrainingConfig.num_folds``).

    Args:
        splits: Memes by split; ``train`` and ``validation`` are used.
        backbone_name: See ``load_backbone``.
        config: How to train.
        data_hash: Hash of the data, for the report.
        skipped: Memes that were left out, a line each, for the report.
        cache_dir: Folder in which the features of a frozen backbone are kept; None keeps none.
        checkpoints: Folder of checkpoints, from which an interrupted training resumes with the result it would have
            had; None keeps none.
        operating_points: Operating points to keep in the bundle; the report says which ones are refused, and why.

    Raises:
        TrainingError: A split is empty or has one label only, or the loss is not finite.
        BackboneError: The backbone cannot be loaded.
        DataError: A caption has more tokens than the model may read.
    """
    experiment = Experiment(
        splits,
        backbone_name,
        tune=config.tune,
        storage=config.storage,
        device=config.device,
        cache_dir=cache_dir,
    )
    num_memes = {name: len(memes) for name, memes in experiment.memes.items()}
    folds = part_into_folds(experiment, config, cache_dir)
    choices = {**dataclasses.asdict(config), "tune": experiment.tune, "num_folds": folds.num if folds else 0}
    if checkpoints:
        checkpoints = checkpoints.for_settings(
            {
                **choices,
                "backbone": experiment.source.name,  # with its commit: naming it resumes even if the branch has moved
                "backbone_sha256": experiment.source.weights_sha256,
                "data_sha256": data_hash,
                "skipped": list(skipped),
                "num_memes": num_memes,
                "memeguard_version": memeguard.__version__,
            }
        )
    fitted = experiment.fit(config, checkpoint=checkpoints.named("model") if checkpoints else None)
    classifier = fitted.classifier
    fitting = validation = HeldOut(
        name=VALIDATION,
        labels=experiment.labels["validation"],
        logits=experiment.predict_logits(classifier, "validation"),
    )
    out_of_fold = None
    if folds:
        out_of_fold = predict_out_of_fold(experiment, config, folds, checkpoints=checkpoints)
        aligned = out_of_fold.align(validation.logits)
        fitting = HeldOut(name=OUT_OF_FOLD, labels=experiment.labels["train"], logits=aligned)
    verdicts = choose_verdicts(fitting, validation, operating_points)
    classifier.config = dataclasses.replace(classifier.config, labels=verdicts.labels)
    report = {
        "backbone": experiment.source.name,
        **experiment.source.to_json(),
        "training": choices,
        "epochs": fitted.history,
        "data": {"sha256": data_hash, "num_memes": num_memes, "skipped": list(skipped)},
        **verdicts.report,
        "cross_validation": out_of_fold and out_of_fold.summarize(experiment.labels["train"]),
        **_compare(experiment, validation, verdicts.labels),
    }
    report["warnings"] += verdicts.warnings
    if config.num_folds is None and experiment.tune == "head" and not folds:
        report["warnings"].append("Threshold and calibration come from the validation split: too few memes for folds.")
    return TrainingResult(Bundle(classifier.cpu(), experiment.tokenizer), report)


def require_same_training(
    report: dict[str, Any], backbone_name: str, config: TrainingConfig, data_hash: str, source: Source
) -> None:
    """Check that a training with these arguments would make the bundle that has ``report``.

    Args:
        report: Training report of the bundle.
        backbone_name: Name by which the user calls the backbone.
        config: How to train.
        data_hash: Hash of the data.
        source: The backbone's weights now. A commit or hash that it or an older report lacks is not compared.

    Raises:
        TrainingError: The bundle is of another training.
    """
    asked = {name: value for name, value in dataclasses.asdict(config).items() if value is not None}
    found = {**report["training"], "backbone": report["backbone"], "data_sha256": report["data"]["sha256"]}
    name = source.name if report.get("backbone_commit") else backbone_name
    wanted = {**asked, "backbone": name, "data_sha256": data_hash}
    if source.weights_sha256 and report.get("backbone_sha256"):
        found["backbone_sha256"], wanted["backbone_sha256"] = report["backbone_sha256"], source.weights_sha256
    if differences := describe_differences(found, wanted, [name for name in wanted if name != "device"]):
        raise TrainingError(f"the bundle is complete, but of another training: {differences}")


def _compare(experiment: Experiment, validation: HeldOut, labels: LabelConfig) -> dict[str, Any]:
    """Figures of the classifier and the baselines on the validation split, and warnings."""
    train_memes, memes = experiment.memes["train"], experiment.memes["validation"]
    model = Scores(labels=validation.labels, probabilities=validation.probabilities(labels), threshold=labels.threshold)
    scores = {
        MODEL: model,
        TFIDF: score_with_tfidf(train_memes, memes, memes),
        MAJORITY: score_with_majority(train_memes, memes),
    }
    return {
        "validation": {name: dataclasses.asdict(measure_scores(one)) for name, one in scores.items()},
        "warnings": find_warnings(measure(scores), model.labels, 0, "validation"),
    }

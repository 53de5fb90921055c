"""Train the same model on picture and caption, on the picture alone, and on the caption alone.

If one modality alone does as well as both, the data does not need a multimodal model, or the model is none. Does not
know how training works.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, get_args

from evaluation.metrics import Scores, measure_scores, to_probabilities
from memeguard.config import Modalities
from training.calibration import calibrate
from training.experiment import Experiment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from evaluation.metrics import Metrics
    from memes.meme import Meme
    from training.config import TrainingConfig


def compare_modalities(
    splits: Mapping[str, Sequence[Meme]], backbone_name: str, config: TrainingConfig, *, cache_dir: Path | None = None
) -> dict[Modalities, Metrics]:
    """Metrics on the validation split of three models that differ in what they see and in nothing else.

    Args:
        splits: ``train`` and ``validation``.
        backbone_name: See ``load_backbone``.
        config: How to train; its ``modalities`` are not looked at.
        cache_dir: Where a frozen backbone's features are kept.
    """
    experiment = Experiment(splits, backbone_name, tune=config.tune, device=config.device, cache_dir=cache_dir)
    labels = experiment.labels["validation"]
    results: dict[Modalities, Metrics] = {}
    for modalities in get_args(Modalities):
        fitted = experiment.fit(dataclasses.replace(config, modalities=modalities), title=modalities)
        logits = experiment.predict_logits(fitted.classifier, "validation")
        chosen = calibrate(labels, logits)
        probabilities = to_probabilities(logits, chosen.temperature)
        scores = Scores(labels=labels, probabilities=probabilities, threshold=chosen.threshold)
        results[modalities] = measure_scores(scores)
    return results

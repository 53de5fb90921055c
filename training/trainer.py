"""Fine-tune a CLIP on labelled memes: backbone, epochs, threshold, and what the result has to be compared with.

Does not know how memes are read, nor how the bundle is archived or served.
"""

from __future__ import annotations

import dataclasses
import itertools
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from memeguard.bundle import Bundle
from memeguard.classifier import MemeClassifier
from memeguard.config import HeadConfig, LabelConfig, Modalities, ModelConfig
from memeguard.predictor import Predictor
from training.backbones import Backbone, load_backbone
from training.baselines import label_array, majority_baseline, tfidf_baseline
from training.config import TrainingConfig, TrainingError
from training.feature_cache import FeatureCache
from training.inputs import FeatureInputs, Inputs, PixelInputs, check_captions
from training.loop import fit, predict_probabilities
from training.metrics import Metrics, choose_threshold, score_predictions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.memes import Meme

# A backbone from scratch has no features worth protecting: much dropout would only slow it down.
_DROPOUT_FROM_SCRATCH = (0.0, 0.1, 0.0)


class TrainingResult(NamedTuple):
    """The fitted bundle, and what was measured, ready for JSON."""

    bundle: Bundle
    report: dict[str, Any]


def train(
    splits: dict[str, list[Meme]],
    backbone_name: str,
    config: TrainingConfig,
    *,
    data_hash: str = "",
    cache_dir: Path | None = None,
) -> TrainingResult:
    """Fine-tune the CLIP called ``backbone_name`` on ``splits``.

    A pretrained backbone stays frozen and its head learns; one made from scratch learns as a whole.

    Args:
        splits: Memes by split; ``train`` and ``validation`` are used.
        backbone_name: See ``load_backbone``.
        config: How to train.
        data_hash: Which data this is, for the report.
        cache_dir: Where a frozen backbone's features are kept from run to run; nowhere by default.

    Raises:
        TrainingError: A split is empty or holds one label only, or the loss is not finite.
        BackboneError: The backbone cannot be loaded.
        DataError: A caption has more tokens than the model may read.
    """
    _check_splits(splits)
    device = resolve_device(config.device)
    torch.manual_seed(config.seed)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    backbone = load_backbone(backbone_name, (meme.text for meme in splits["train"]))
    classifier = _build_classifier(backbone, config.modalities)
    predictor = Predictor(Bundle(classifier, backbone.tokenizer), device=device)
    check_captions(predictor, itertools.chain(*splits.values()))
    inputs = _read_inputs(predictor, splits, cache_dir, frozen=backbone.pretrained)
    labels = {name: label_array(splits[name]) for name in inputs}
    history = fit(classifier, inputs, labels, config, train_backbone=not backbone.pretrained)

    probabilities = predict_probabilities(classifier, inputs["validation"])
    threshold = choose_threshold(labels["validation"], probabilities)
    classifier.config = dataclasses.replace(classifier.config, labels=LabelConfig(threshold=threshold))
    rows = {
        "model": score_predictions(labels["validation"], probabilities, threshold),
        "tfidf": tfidf_baseline(splits["train"], splits["validation"], splits["validation"]),
        "majority": majority_baseline(splits["train"], splits["validation"]),
    }
    report = {
        "backbone": backbone_name,
        "training": dataclasses.asdict(config),
        "epochs": history,
        "data": {"sha256": data_hash, "num_memes": {name: len(memes) for name, memes in splits.items()}},
        "threshold": threshold,
        "validation": {name: dataclasses.asdict(metrics) for name, metrics in rows.items()},
    }
    return TrainingResult(Bundle(classifier.cpu(), backbone.tokenizer), report)


def evaluate_memes(bundle: Bundle, memes: Sequence[Meme], *, device: str = "auto", name: str = "test") -> Metrics:
    """Score ``bundle`` on ``memes`` at its own threshold."""
    predictor = Predictor(bundle, device=resolve_device(device))
    probabilities = predict_probabilities(predictor.classifier, PixelInputs(predictor, memes, f"read {name}"))
    return score_predictions(label_array(memes), probabilities, predictor.config.labels.threshold)


def resolve_device(name: str) -> str:
    """``auto`` is a GPU where there is one; raises ``TrainingError`` for a device this machine lacks."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"device {name!r} is not available here: {error}") from error
    return name


def _read_inputs(
    predictor: Predictor, splits: dict[str, list[Meme]], cache_dir: Path | None, *, frozen: bool
) -> dict[str, Inputs]:
    names = ("train", "validation")
    if not frozen:
        return {name: PixelInputs(predictor, splits[name], f"read {name}") for name in names}
    if cache_dir is None:
        return {name: FeatureInputs(predictor, splits[name], f"read {name}") for name in names}
    with closing(FeatureCache.for_backbone(cache_dir, predictor)) as cache:
        return {name: FeatureInputs(predictor, splits[name], f"read {name}", cache) for name in names}


def _check_splits(splits: dict[str, list[Meme]]) -> None:
    for name in ("train", "validation"):
        found = {meme.label.name.lower() for meme in splits.get(name, [])}
        if not found:
            raise TrainingError(f"split {name} has no rows")
        if len(found) == 1:
            raise TrainingError(f"split {name} holds {found.pop()} memes only; both labels are needed")


def _build_classifier(backbone: Backbone, modalities: Modalities) -> MemeClassifier:
    head = HeadConfig(modalities=modalities)
    if not backbone.pretrained:
        head = dataclasses.replace(head, dropout=_DROPOUT_FROM_SCRATCH)
    config = ModelConfig(
        backbone=backbone.name,
        clip=backbone.clip.config.to_dict(),
        image=backbone.image,
        text=backbone.text,
        head=head,
    )
    classifier = MemeClassifier(config)
    classifier.clip.load_state_dict(backbone.clip.state_dict())
    return classifier

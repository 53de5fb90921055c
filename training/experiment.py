"""Read a data set and a backbone once, and train on them with several settings."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch

from memeguard.bundle import Bundle
from memeguard.classifier import MemeClassifier
from memeguard.config import HeadConfig, ModelConfig
from memeguard.predictor import MemePreparer
from memeguard.torch_runtime import TorchPredictor
from memes.meme import Label
from memes.meme_table import label_array
from memes.preparing import check_captions
from training.backbones import load_backbone
from training.calibration import undo_class_weights
from training.config import Storage, TrainingConfig, TrainingError, Tune
from training.devices import training_device, use_threads
from training.feature_cache import FeatureCache
from training.inputs import FeatureInputs, Inputs, PixelInputs, SubsetInputs
from training.loop import fit, predict_logits
from training.tuning import Tuning, choose_tune

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from memes.meme import Meme
    from training.backbones import Source
    from training.checkpoint import Checkpoint

_SPLITS: Final = ("train", "validation")
# A backbone from scratch has no features to protect: much dropout would only slow it down.
_DROPOUT_FROM_SCRATCH: Final = (0.0, 0.1, 0.0)


class Fitted(NamedTuple):
    """A trained classifier in evaluation mode, its epochs, and the best validation AUROC of them."""

    classifier: MemeClassifier
    history: list[dict[str, float]]
    auroc: float


class Experiment:
    """A data set and a backbone that are read once and trained with several settings."""

    def __init__(
        self,
        splits: Mapping[str, Sequence[Meme]],
        backbone_name: str,
        *,
        tune: Tune | None = None,
        storage: Storage = "fp32",
        device: str = "auto",
        cache_dir: Path | None = None,
    ) -> None:
        """Load the backbone; if it stays frozen, compute the features of all memes.

        Args:
            splits: Memes by split; ``train`` and ``validation`` are used.
            backbone_name: See ``load_backbone``.
            tune: ``tune`` of every configuration that will be trained.
            storage: ``storage`` of every configuration that will be trained.
            device: See ``training_device``.
            cache_dir: Folder in which the features of a frozen backbone are kept; None keeps none.

        Raises:
            TrainingError: A split is empty or has one label only, or ``tune`` does not suit the backbone.
            BackboneError: The backbone cannot be loaded.
            DeviceError: This machine has no such device.
            DataError: A caption has more tokens than the model may read.
        """
        _check_splits(splits)
        self.memes = {name: splits[name] for name in _SPLITS}
        self.labels = {name: label_array(memes) for name, memes in self.memes.items()}
        self._device = training_device(device)
        self._backbone = load_backbone(backbone_name, (meme.text for meme in splits["train"]))
        self._storage = storage
        if storage == "fp16":  # before the features of a frozen backbone are computed
            self._backbone.clip.half().float()
        self.tune = choose_tune(TrainingConfig(tune=tune), pretrained=self._backbone.pretrained)
        self._model = ModelConfig(
            backbone=self._backbone.name,
            clip=self._backbone.clip.config.to_dict(),
            image=self._backbone.image,
            text=self._backbone.text,
        )
        preparer = MemePreparer(self._model, self.tokenizer)
        check_captions(preparer, itertools.chain(*self.memes.values()))
        self.inputs: dict[str, Inputs] = (
            {name: PixelInputs(preparer, memes, device=self._device) for name, memes in self.memes.items()}
            if self.tune != "head"
            else self._read_features(cache_dir)
        )

    @property
    def source(self) -> Source:
        """The weights of the backbone."""
        return self._backbone.source

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the backbone."""
        return self._backbone.tokenizer

    def fit(
        self,
        config: TrainingConfig,
        *,
        rows: NDArray[np.int64] | None = None,
        checkpoint: Checkpoint | None = None,
        title: str = "train",
    ) -> Fitted:
        """Train one classifier; the same arguments give the same classifier.

        Args:
            config: How to train; ``device`` is ignored, ``tune`` and ``storage`` must be the experiment's.
            rows: Rows int64 of the training split to train on; all by default.
            checkpoint: File of the state; training resumes from it if it exists.
            title: Title of the progress bar.

        Raises:
            TrainingError: The loss is not finite, or the checkpoint is not of this training.
        """
        if choose_tune(config, pretrained=self._backbone.pretrained) != self.tune:
            raise TrainingError(f"tune is {config.tune!r}; the experiment was prepared for {self.tune!r}")
        if config.storage != self._storage:
            raise TrainingError(f"storage is {config.storage!r}; the experiment was prepared for {self._storage!r}")
        inputs, labels = dict(self.inputs), dict(self.labels)
        if rows is not None:
            inputs["train"] = SubsetInputs(inputs["train"], torch.from_numpy(rows))
            labels["train"] = labels["train"][rows]
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        torch.manual_seed(config.seed)
        classifier = self._make_classifier(config).to(self._device)
        tuning = Tuning(classifier, config, pretrained=self._backbone.pretrained)
        # The small matrices of a head gain nothing from a second thread, and wait for it on a busy machine.
        with use_threads(1 if self.tune == "head" else torch.get_num_threads()):
            try:
                history = fit(classifier, inputs, labels, config, tuning.groups, checkpoint=checkpoint, title=title)
            except torch.OutOfMemoryError as error:
                hint = "choose a smaller batch_size or more accumulation_steps"
                raise TrainingError(f"the device has too little memory ({hint}): {error}") from error
        tuning.merge()
        undo_class_weights(classifier.head, labels["train"])
        if config.storage == "fp16":
            classifier.half().float()
        return Fitted(classifier.eval(), history, max(epoch["validation_auroc"] for epoch in history))

    def predict_logits(
        self, classifier: MemeClassifier, split: str, rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Predict the offensive logits of a split's memes, or of those at ``rows``, in order."""
        inputs = self.inputs[split]
        if rows is not None:
            inputs = SubsetInputs(inputs, torch.from_numpy(rows))
        classifier.eval()
        return predict_logits(inputs.network(classifier), inputs)

    def _make_classifier(self, config: TrainingConfig) -> MemeClassifier:
        backbone = self._backbone
        head = HeadConfig(
            modalities=config.modalities,
            projection_dim=config.projection_dim,
            hidden_dim=config.hidden_dim,
            **({} if backbone.pretrained else {"dropout": _DROPOUT_FROM_SCRATCH}),
        )
        model = dataclasses.replace(self._model, head=head)
        if self.tune == "head":  # all classifiers share the frozen backbone
            return MemeClassifier(model, backbone.clip)
        # The random weights of a backbone from scratch come from the seed.
        return MemeClassifier(model, copy.deepcopy(backbone.clip) if backbone.pretrained else None)

    def _read_features(self, cache_dir: Path | None) -> dict[str, Inputs]:
        classifier = self._make_classifier(TrainingConfig())
        predictor = TorchPredictor(Bundle(classifier, self.tokenizer), device=self._device)
        with contextlib.ExitStack() as stack:
            cache = None
            if cache_dir is not None:
                cache = stack.enter_context(contextlib.closing(FeatureCache.for_backbone(cache_dir, predictor)))
            return {name: FeatureInputs(predictor, memes, f"read {name}", cache) for name, memes in self.memes.items()}


def _check_splits(splits: Mapping[str, Sequence[Meme]]) -> None:
    for name in _SPLITS:
        found = np.unique(label_array(splits.get(name, [])))
        if not len(found):
            raise TrainingError(f"split {name} has no rows")
        if len(found) == 1:
            raise TrainingError(f"split {name} has {Label(found[0]).word} memes only; both labels are needed")

"""Epochs: lower the loss on the training split, and keep the weights that rank the validation split best.

Does not know what the inputs are made of, nor what the fitted classifier is for.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from memeguard.predictor import non_offensive_probability
from training.config import OptimizerName, TrainingConfig, TrainingError
from training.metrics import score_predictions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from memeguard.classifier import MemeClassifier
    from training.inputs import Inputs

_OPTIMIZERS: dict[OptimizerName, type[torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
_WEIGHT_DECAY = 1e-2
_WARMUP_SHARE = 0.1
_MAX_GRADIENT_NORM = 1.0
_EVALUATION_BATCH = 64


def fit(
    classifier: MemeClassifier,
    inputs: Mapping[str, Inputs],
    labels: Mapping[str, NDArray[np.int64]],
    config: TrainingConfig,
    *,
    train_backbone: bool,
) -> list[dict[str, float]]:
    """Train ``classifier`` in place; it ends in evaluation mode with the weights of its best epoch.

    Args:
        classifier: Its head always learns, its towers if ``train_backbone``.
        inputs: Of the splits ``train`` and ``validation``.
        labels: Of the same splits, [N], 1 = offensive.
        config: How to train.
        train_backbone: Whether the towers learn too.

    Returns:
        Mean loss and validation AUROC of each epoch.

    Raises:
        TrainingError: The loss or an answer is no longer finite.
    """
    epoch = _Epoch(classifier, inputs["train"], labels["train"], config, train_backbone=train_backbone)
    history: list[dict[str, float]] = []
    best_auroc, best_epoch, best_weights = -math.inf, 0, classifier.state_dict()
    with tqdm(range(1, config.num_epochs + 1), desc="train", unit="epoch", disable=None) as progress:
        for number in progress:
            loss = epoch.run(number)
            probabilities = predict_probabilities(classifier, inputs["validation"])
            if not np.isfinite(probabilities).all():
                raise _explosion("the model's answers are not numbers", number, config)
            auroc = score_predictions(labels["validation"], probabilities, threshold=0.5).auroc
            history.append({"loss": loss, "validation_auroc": auroc})
            progress.set_postfix(loss=f"{loss:.3f}", auroc=f"{auroc:.3f}")
            if auroc > best_auroc:
                best_auroc, best_epoch, best_weights = auroc, number, copy.deepcopy(classifier.state_dict())
            elif number - best_epoch >= config.patience:
                break
    classifier.load_state_dict(best_weights)
    classifier.eval()
    return history


@torch.no_grad()
def predict_probabilities(classifier: MemeClassifier, inputs: Inputs) -> NDArray[np.float64]:
    """Probabilities [N] of being non-offensive; leaves ``classifier`` in evaluation mode."""
    classifier.eval()
    batches = torch.split(torch.arange(len(inputs)), _EVALUATION_BATCH)
    logits = torch.cat([inputs.logits(classifier, rows) for rows in batches])
    return np.array([non_offensive_probability(logit) for logit in logits.tolist()])


class _Epoch:
    """One pass over the training split, with the state that lasts from one to the next."""

    def __init__(
        self,
        classifier: MemeClassifier,
        inputs: Inputs,
        labels: NDArray[np.int64],
        config: TrainingConfig,
        *,
        train_backbone: bool,
    ) -> None:
        self._classifier, self._inputs, self._config, self._train_backbone = classifier, inputs, config, train_backbone
        classifier.clip.requires_grad_(train_backbone)
        self._trainable = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
        device = self._trainable[0].device
        self._targets = torch.from_numpy(labels).float().to(device)
        # The rarer label weighs as much in all as the other one.
        self._positive_weight = (len(labels) - self._targets.sum()) / self._targets.sum()
        self._order = torch.Generator().manual_seed(config.seed)
        self._optimizer = _OPTIMIZERS[config.optimizer](
            self._trainable,
            lr=config.learning_rate,  # type: ignore[call-arg]
            weight_decay=_WEIGHT_DECAY,
        )
        num_steps = config.num_epochs * math.ceil(len(inputs) / config.batch_size)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: _learning_rate_factor(step, num_steps)
        )

    def run(self, number: int) -> float:
        """Train on every meme once, in a new order; return the mean loss of the steps."""
        # A frozen tower stays in evaluation mode: its dropout would blur features that nothing can adapt to.
        self._classifier.clip.train(self._train_backbone)
        self._classifier.head.train()
        losses = []
        for rows in torch.split(torch.randperm(len(self._inputs), generator=self._order), self._config.batch_size):
            loss = functional.binary_cross_entropy_with_logits(
                self._inputs.logits(self._classifier, rows), self._targets[rows], pos_weight=self._positive_weight
            )
            if not torch.isfinite(loss):
                raise _explosion(f"the loss is {loss.item()}", number, self._config)
            self._step(loss)
            losses.append(loss.item())
        return float(np.mean(losses))

    def _step(self, loss: Tensor) -> None:
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._trainable, _MAX_GRADIENT_NORM)
        self._optimizer.step()
        self._schedule.step()


def _explosion(what: str, number: int, config: TrainingConfig) -> TrainingError:
    return TrainingError(f"{what} in epoch {number}; choose a learning rate below {config.learning_rate}")


def _learning_rate_factor(step: int, num_steps: int) -> float:
    num_warmup = max(1, int(num_steps * _WARMUP_SHARE))
    if step < num_warmup:
        return (step + 1) / num_warmup
    return 0.5 * (1 + math.cos(math.pi * (step - num_warmup) / max(1, num_steps - num_warmup)))

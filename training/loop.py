"""Epochs: lower the loss on the training split, and keep the weights that rank the validation split best.

Does not know what the inputs are made of, how a step is made, nor what the fitted classifier is for.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from tqdm import tqdm

from evaluation.metrics import compute_auroc, to_probabilities
from training.config import TrainingConfig, TrainingError
from training.stepper import Stepper, draw_seed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from accelerate import Accelerator
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from memeguard.classifier import MemeClassifier
    from training.checkpoint import Checkpoint
    from training.inputs import Inputs
    from training.optimization import ParameterGroup

_EVALUATION_BATCH: Final = 64
_WORK_PER_WRITING: Final = 9  # seconds of training for each second in which a checkpoint is written


def fit(
    classifier: MemeClassifier,
    inputs: Mapping[str, Inputs],
    labels: Mapping[str, NDArray[np.int64]],
    config: TrainingConfig,
    groups: Sequence[ParameterGroup],
    *,
    checkpoint: Checkpoint | None = None,
    title: str = "train",
) -> list[dict[str, float]]:
    """Train ``classifier`` in place; it ends in evaluation mode with the weights of its best epoch.

    Args:
        classifier: On its device; what learns of it requires gradients.
        inputs: Of the splits ``train`` and ``validation``.
        labels: Of the same splits, [N], 1 = offensive.
        config: How to train.
        groups: What learns, the head first, and at which peak learning rate.
        checkpoint: Where the state is kept, and gone on from if there is one.
        title: Of the progress bar.

    Returns:
        Mean loss and validation AUROC of each epoch.

    Raises:
        TrainingError: The loss or an answer is no longer finite; the checkpoint is damaged or of another training.
    """
    num_batches = math.ceil(len(inputs["train"]) / config.batch_size)
    network = inputs["train"].network(classifier)
    stepper = Stepper(network, groups, labels["train"], config, config.num_epochs * num_batches)
    try:
        run = _Run(classifier, stepper, inputs, labels["validation"], config, checkpoint)
        return run.train(title)
    finally:
        stepper.release()
        classifier.eval()


@torch.no_grad()
def predict_logits(network: nn.Module, inputs: Inputs, accelerator: Accelerator | None = None) -> NDArray[np.float64]:
    """Offensive logits [N] of a network in evaluation mode; the accelerator's processes share the work."""
    num = len(inputs)
    world, rank = (accelerator.num_processes, accelerator.process_index) if accelerator else (1, 0)
    own = torch.arange(math.ceil(num / world)) * world + rank
    with contextlib.closing(inputs.batches(torch.split(own.clamp(max=num - 1), _EVALUATION_BATCH))) as batches:
        logits = torch.cat([network(*batch).float() for batch in batches])
    if accelerator and world > 1:
        logits = accelerator.gather(logits[None]).T.reshape(-1)
    return logits[:num].cpu().numpy().astype(np.float64)


def predict_probabilities(classifier: MemeClassifier, inputs: Inputs) -> NDArray[np.float64]:
    """Probabilities [N] of being non-offensive; leaves ``classifier`` in evaluation mode."""
    logits = predict_logits(inputs.network(classifier.eval()), inputs)
    return to_probabilities(logits, classifier.config.labels.temperature)


@dataclass(kw_only=True)
class _State:
    """How far a training is; with the weights, all there is to know."""

    epoch: int = 1
    step: int = 0  # made in this epoch
    loss: float = 0.0  # summed over them
    history: list[dict[str, float]] = field(default_factory=list)
    best_auroc: float = -1.0
    best_epoch: int = 0

    def is_finished(self, config: TrainingConfig) -> bool:
        """Whether no further epoch is due."""
        done = self.epoch - 1
        return done >= config.num_epochs or (done > 0 and done - self.best_epoch >= config.patience)


class _Run:
    """One training and how far it is."""

    def __init__(  # noqa: PLR0917 - its only caller is ``fit``
        self,
        classifier: MemeClassifier,
        stepper: Stepper,
        inputs: Mapping[str, Inputs],
        validation_labels: NDArray[np.int64],
        config: TrainingConfig,
        checkpoint: Checkpoint | None,
    ) -> None:
        self._classifier, self._stepper, self._inputs, self._config = classifier, stepper, inputs, config
        self._validation_labels = validation_labels
        self._num_batches = math.ceil(len(inputs["train"]) / config.batch_size)
        self._state, self._best = _State(), dict[str, "Tensor"]()
        self._average = {name: weight.detach().clone() for name, weight in stepper.weights.items() if config.averaging}
        self._checkpoint = checkpoint
        self._next_writing = time.monotonic() + checkpoint.every_s if checkpoint else math.inf
        if checkpoint and (kept := checkpoint.read()):
            tensors, state = kept
            self._state = _State(**state)
            stepper.load(tensors)
            self._best = {name: tensors[f"best.{name}"] for name in stepper.weights if self._state.best_epoch}
            self._average = {name: tensors[f"average.{name}"].to(old.device) for name, old in self._average.items()}

    def train(self, title: str) -> list[dict[str, float]]:
        """Go on until no epoch is due, then put the best weights in place; return the history."""
        state, config = self._state, self._config
        num = len(self._inputs["train"])
        done = (state.epoch - 1) * num + state.step * config.batch_size
        silent = None if self._stepper.accelerator.is_main_process else True
        with tqdm(total=config.num_epochs * num, initial=done, desc=title, unit="meme", disable=silent) as progress:
            while not state.is_finished(config):
                try:
                    for num_seen in self._run_epoch():
                        progress.update(num_seen)
                    self._close_epoch()
                except TrainingError as error:
                    raise self._explain(error) from error
                self._keep()
                last = state.history[-1]
                progress.set_postfix(epoch=len(state.history), loss=last["loss"], auroc=last["validation_auroc"])
        self._stepper.load_weights(self._best)
        return state.history

    def _run_epoch(self) -> Iterator[int]:
        """Train on every meme once, in an order of this epoch's own; yields the number of memes after each step."""
        self._classifier.eval()  # towers too, of which a head that learns alone is no part
        self._stepper.network.train()
        state = self._state
        generator = torch.Generator().manual_seed(draw_seed(self._config.seed, state.epoch))
        order = torch.randperm(len(self._inputs["train"]), generator=generator)
        parts = (part for batch in self._batches(order) for part in self._stepper.parts(batch))
        inputs = self._inputs["train"]
        if self._config.augment:
            inputs = inputs.augmented(draw_seed(self._config.seed, state.epoch, 0))
        with contextlib.closing(inputs.batches(parts)) as arguments:
            for batch in self._batches(order):
                number = (state.epoch - 1) * self._num_batches + state.step
                state.loss += self._stepper.step(number, batch, arguments)
                state.step += 1
                self._update_average(number)
                yield len(batch)
                if self._checkpoint and time.monotonic() >= self._next_writing:
                    self._keep()

    def _batches(self, order: Tensor) -> Iterator[Tensor]:
        """The batches of the epoch that are still to come."""
        size = self._config.batch_size
        for start in range(self._state.step * size, len(order), size):
            yield order[start : start + size]

    @torch.no_grad()
    def _update_average(self, number: int) -> None:
        """Let the average follow the weights, the faster the fewer steps there were."""
        decay = min(self._config.averaging, (1 + number) / (10 + number))
        for name, average in self._average.items():
            average.lerp_(self._stepper.weights[name], 1 - decay)

    def _close_epoch(self) -> None:
        """Validate, and remember the weights, or their average, if they are the best so far."""
        state, stepper = self._state, self._stepper
        weights = {name: stepper.weights[name].detach().clone() for name in self._average}
        if self._average:
            stepper.load_weights(self._average)
        stepper.network.eval()
        logits = predict_logits(stepper.network, self._inputs["validation"], stepper.accelerator)
        if not np.isfinite(logits).all():
            raise TrainingError("the model's answers are not numbers")
        auroc = compute_auroc(self._validation_labels, 1.0 - to_probabilities(logits))
        state.history.append({"loss": state.loss / self._num_batches, "validation_auroc": auroc})
        if auroc > state.best_auroc:
            state.best_auroc, state.best_epoch = auroc, state.epoch
            self._best = {name: weight.detach().clone() for name, weight in stepper.weights.items()}
        if weights:
            stepper.load_weights(weights)
        state.epoch, state.step, state.loss = state.epoch + 1, 0, 0.0

    def _keep(self) -> None:
        """Write the checkpoint; a disk that is full costs it, not the training."""
        if self._checkpoint is None or not self._stepper.accelerator.is_main_process:
            return
        start = time.monotonic()
        best = {f"best.{name}": weight for name, weight in self._best.items()}
        average = {f"average.{name}": weight for name, weight in self._average.items()}
        try:
            self._checkpoint.write({**self._stepper.state(), **best, **average}, asdict(self._state))
        except OSError as error:
            tqdm.write(f"warning: checkpoint {self._checkpoint.path} is not written: {error}", file=sys.stderr)
        # A large state takes long to write: at most a tenth of the time goes into it, unless every step is asked for.
        end = time.monotonic()
        every_s = self._checkpoint.every_s
        self._next_writing = end + (max(every_s, _WORK_PER_WRITING * (end - start)) if every_s else 0.0)

    def _explain(self, error: TrainingError) -> TrainingError:
        message = f"{error} in epoch {self._state.epoch}; choose a learning rate below {self._config.learning_rate}"
        if self._checkpoint and self._checkpoint.path.exists():
            message += f" and go on from the last good state, {self._checkpoint.path}, with --resume"
        return TrainingError(message)

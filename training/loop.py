"""Train for several epochs, and keep the weights of the epoch with the best validation AUROC."""

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
_WORK_PER_WRITING: Final = 9  # seconds of training per second of writing a checkpoint


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
        classifier: Network on its device; the weights that are trained require gradients.
        inputs: Inputs of the splits ``train`` and ``validation``.
        labels: Labels [N] of these splits, 1 = offensive.
        config: How to train.
        groups: Weights that are trained, those of the head first, with their peak learning rates.
        checkpoint: File of the state; training resumes from it if it exists.
        title: Title of the progress bar.

    Returns:
        Mean loss and validation AUROC of each epoch.

    Raises:
        TrainingError: The loss or an answer is not finite; the checkpoint is damaged or of another training.
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
    """Predict offensive logits [N] with a network in evaluation mode; the accelerator's processes share the work."""
    num = len(inputs)
    world, rank = (accelerator.num_processes, accelerator.process_index) if accelerator else (1, 0)
    own = torch.arange(math.ceil(num / world)) * world + rank
    with contextlib.closing(inputs.batches(torch.split(own.clamp(max=num - 1), _EVALUATION_BATCH))) as batches:
        logits = torch.cat([network(*batch).float() for batch in batches])
    if accelerator and world > 1:
        logits = accelerator.gather(logits[None]).T.reshape(-1)
    return logits[:num].cpu().numpy().astype(np.float64)


@dataclass(kw_only=True)
class _State:
    """Progress of a training; together with the weights, its whole state."""

    epoch: int = 1
    step: int = 0  # steps that are done in this epoch
    loss: float = 0.0  # summed over these steps
    history: list[dict[str, float]] = field(default_factory=list)
    best_auroc: float = -1.0
    best_epoch: int = 0

    def is_finished(self, config: TrainingConfig) -> bool:
        """Whether all epochs are done, or patience has ended."""
        done = self.epoch - 1
        return done >= config.num_epochs or (done > 0 and done - self.best_epoch >= config.patience)


class _Run:
    """One training and its state."""

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
        """Train until it is finished, then load the best weights; return the history."""
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
        """Train on every meme once, in a new order; yield the number of memes after each step."""
        self._classifier.eval()  # towers too, which are not part of the network if only the head is trained
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
        """The remaining batches of the epoch."""
        size = self._config.batch_size
        for start in range(self._state.step * size, len(order), size):
            yield order[start : start + size]

    @torch.no_grad()
    def _update_average(self, number: int) -> None:
        """Move the average towards the weights, faster in the first steps."""
        decay = min(self._config.averaging, (1 + number) / (10 + number))
        for name, average in self._average.items():
            average.lerp_(self._stepper.weights[name], 1 - decay)

    def _close_epoch(self) -> None:
        """Validate, and keep the weights, or their average, if they are the best so far."""
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
        """Write the checkpoint; training continues without it if the disk is full."""
        if self._checkpoint is None or not self._stepper.accelerator.is_main_process:
            return
        start = time.monotonic()
        best = {f"best.{name}": weight for name, weight in self._best.items()}
        average = {f"average.{name}": weight for name, weight in self._average.items()}
        try:
            self._checkpoint.write({**self._stepper.state(), **best, **average}, asdict(self._state))
        except OSError as error:
            tqdm.write(f"warning: checkpoint {self._checkpoint.path} is not written: {error}", file=sys.stderr)
        # A large state takes long to write: spend at most a tenth of the time on it, unless every step is asked for.
        end = time.monotonic()
        every_s = self._checkpoint.every_s
        self._next_writing = end + (max(every_s, _WORK_PER_WRITING * (end - start)) if every_s else 0.0)

    def _explain(self, error: TrainingError) -> TrainingError:
        message = f"{error} in epoch {self._state.epoch}; choose a learning rate below {self._config.learning_rate}"
        if self._checkpoint and self._checkpoint.path.exists():
            message += f" and add --resume to continue from the last good state, {self._checkpoint.path}"
        return TrainingError(message)

"""One step of training: a batch through the network, in parts and on several processes, and the weights moved.

Every random number is drawn from the seed and the number of the step, so that a training that goes on from a checkpoint
ends as if it had never stopped. Does not know epochs, validation or what the batches are made of.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.nn import functional

from training.config import OptimizerName, TrainingConfig, TrainingError
from training.devices import make_accelerator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from training.tuning import ParameterGroup

_OPTIMIZERS: Final[dict[OptimizerName, type[torch.optim.Optimizer]]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
_WARMUP_SHARE: Final = 0.1
_MAX_GRADIENT_NORM: Final = 1.0


class Stepper:
    """A network, its optimizer and its schedule.

    Attributes:
        accelerator: Of this training.
        network: As accelerate has wrapped it.
        weights: What learns, by name.
    """

    def __init__(
        self,
        network: nn.Module,
        groups: Sequence[ParameterGroup],
        labels: NDArray[np.int64],
        config: TrainingConfig,
        num_steps: int,
    ) -> None:
        """Prepare ``network``, which lies on its device, for ``num_steps`` steps on memes with ``labels`` [N]."""
        self.weights = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        self._config, self._num_steps = config, num_steps
        self._learning_rates = [group.learning_rate for group in groups]
        optimizer = _OPTIMIZERS[config.optimizer](
            [{"params": group.parameters} for group in groups],
            lr=config.learning_rate,  # type: ignore[call-arg]
            weight_decay=config.weight_decay,
            fused=True,  # one pass over the weights; a head's step is a third shorter by it
        )
        device = groups[0].parameters[0].device
        self._targets = torch.from_numpy(labels).float().to(device)
        # The rarer label weighs as much in all as the other one.
        self._positive_weight = (len(labels) - self._targets.sum()) / self._targets.sum()
        self.accelerator = make_accelerator(device, config.precision, towers_learn=len(groups) > 1)
        self.network, self._optimizer = self.accelerator.prepare(network, optimizer)

    def parts(self, batch: Tensor) -> list[Tensor]:
        """Rows (int64) of this process's share of ``batch``, in the parts that go through the network at once.

        Where there are fewer memes than processes, some have to join in with a meme that does not count.
        """
        share = batch.tensor_split(self.accelerator.num_processes)[self.accelerator.process_index]
        return list(share.tensor_split(min(self._config.accumulation_steps, len(share)))) if len(share) else [batch[:1]]

    def step(self, number: int, batch: Tensor, arguments: Iterator[tuple[Any, ...]]) -> float:
        """Move the weights by one batch; return the mean over its memes of the weighted cross-entropy.

        Args:
            number: Of the step, from 0.
            batch: Rows int64 [B] of the training split.
            arguments: The network's, for each of ``parts(batch)``.

        Raises:
            TrainingError: The loss or its gradient is not finite; the weights are as before.
        """
        self._seed_dropout(draw_seed(self._config.seed, number, self.accelerator.process_index))
        self._optimizer.zero_grad()
        parts = self.parts(batch)
        counts = self.accelerator.process_index < len(batch)
        # Gradients are averaged over the processes, and each of these sees its share alone.
        weight = self.accelerator.num_processes / len(batch) if counts else 0.0
        losses = []
        for index, rows in enumerate(parts, 1):
            with contextlib.nullcontext() if index == len(parts) else self.accelerator.no_sync(self.network):
                logits_B = self.network(*next(arguments)).float()
                loss = weight * functional.binary_cross_entropy_with_logits(
                    logits_B, self._targets[rows], pos_weight=self._positive_weight, reduction="sum"
                )
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        total = float(self.accelerator.reduce(torch.stack(losses).sum(), "mean"))
        if not math.isfinite(total):
            raise TrainingError(f"the loss is {total}")
        norm = self.accelerator.clip_grad_norm_(self.weights.values(), _MAX_GRADIENT_NORM)
        if norm is not None and not math.isfinite(norm):
            raise TrainingError(f"the gradient's norm is {float(norm)}")
        factor = learning_rate_factor(number, self._num_steps)
        for group, learning_rate in zip(self._optimizer.param_groups, self._learning_rates, strict=True):
            group["lr"] = learning_rate * factor
        self._optimizer.step()
        return total

    def _seed_dropout(self, seed: int) -> None:
        # torch.manual_seed looks for every kind of device there may be, and takes longer than the head's step.
        torch.default_generator.manual_seed(seed)
        device = self._targets.device
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)

    def state(self) -> dict[str, Tensor]:
        """The weights that learn and the optimizer's moments."""
        tensors = {f"weight.{name}": weight.detach() for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            for key, value in self._optimizer.state.get(weight, {}).items():
                if torch.is_tensor(value):  # SGD has a None
                    tensors[f"optimizer.{name}.{key}"] = value
        return tensors

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of ``state``."""
        self.load_weights({name: tensors[f"weight.{name}"] for name in self.weights})
        for name, weight in self.weights.items():
            prefix = f"optimizer.{name}."
            self._optimizer.state[weight] = {
                key.removeprefix(prefix): tensor.to(weight.device)
                for key, tensor in tensors.items()
                if key.startswith(prefix)
            }

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Put other values of ``weights`` in place."""
        for name, weight in self.weights.items():
            weight.copy_(weights[name])

    def release(self) -> None:
        """Undo what accelerate did to the network."""
        self.accelerator.unwrap_model(self.network, keep_fp32_wrapper=False)


def draw_seed(*numbers: int) -> int:
    """A seed in [0, 2^64) that depends on all of ``numbers`` >= 0, and on how many they are."""
    return int(np.random.SeedSequence((len(numbers), *numbers)).generate_state(1, np.uint64)[0])


def learning_rate_factor(step: int, num_steps: int) -> float:
    """The share of the peak learning rate: it rises linearly over a tenth of the steps, then falls along a cosine."""
    num_warmup = max(1, int(num_steps * _WARMUP_SHARE))
    if step < num_warmup:
        return (step + 1) / num_warmup
    return 0.5 * (1 + math.cos(math.pi * (step - num_warmup) / max(1, num_steps - num_warmup)))

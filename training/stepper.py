"""One step of training: pass a batch through the network, in parts and on several processes, and update the weights.

Every random number depends on the seed and the number of the step alone. So a training that is resumed from a
checkpoint ends as if it had not been interrupted.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from training.config import TrainingConfig, TrainingError
from training.devices import make_accelerator
from training.optimization import Optimization

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from training.optimization import ParameterGroup


class Stepper(Optimization):
    """A network that learns to tell offensive memes from harmless ones, and what updates its weights."""

    def __init__(
        self,
        network: nn.Module,
        groups: Sequence[ParameterGroup],
        labels: NDArray[np.int64],
        config: TrainingConfig,
        num_steps: int,
    ) -> None:
        """Prepare ``network``, which is on its device, for ``num_steps`` steps on memes with ``labels`` [N]."""
        self._config = config
        device = groups[0].parameters[0].device
        self._targets = torch.from_numpy(labels).float().to(device)
        # The rarer label gets the same total weight as the other one.
        self._positive_weight = (len(labels) - self._targets.sum()) / self._targets.sum()
        super().__init__(
            network,
            groups,
            make_accelerator(device, config.precision, towers_learn=len(groups) > 1),
            optimizer=config.optimizer,
            weight_decay=config.weight_decay,
            num_steps=num_steps,
        )

    def parts(self, batch: Tensor) -> list[Tensor]:
        """Split this process's share of ``batch`` into the parts that pass through the network at once: rows, int64.

        If there are fewer memes than processes, some processes take part with a meme that does not count.
        """
        share = batch.tensor_split(self.accelerator.num_processes)[self.accelerator.process_index]
        return list(share.tensor_split(min(self._config.accumulation_steps, len(share)))) if len(share) else [batch[:1]]

    def step(self, number: int, batch: Tensor, arguments: Iterator[tuple[Any, ...]]) -> float:
        """Update the weights for one batch; return the mean over its memes of the weighted cross-entropy.

        Args:
            number: The step's, from 0.
            batch: Rows int64 [B] of the training split.
            arguments: Arguments of the network, for each of ``parts(batch)``.

        Raises:
            TrainingError: The loss or its gradient is not finite; the weights are as before.
        """
        self._seed_dropout(draw_seed(self._config.seed, number, self.accelerator.process_index))
        self.clear_gradients()
        parts = self.parts(batch)
        counts = self.accelerator.process_index < len(batch)
        # Gradients are averaged over the processes, each of which sees its own share only.
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
        self.update(number)
        return total

    def _seed_dropout(self, seed: int) -> None:
        # torch.manual_seed looks for every kind of device, and takes longer than the step of a head.
        torch.default_generator.manual_seed(seed)
        device = self._targets.device
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)


def draw_seed(*numbers: int) -> int:
    """A seed in [0, 2^64) that depends on all of ``numbers`` >= 0, and on how many they are."""
    return int(np.random.SeedSequence((len(numbers), *numbers)).generate_state(1, np.uint64)[0])

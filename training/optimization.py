"""Update the weights of a network: optimizer, learning-rate schedule, gradient clipping, and their state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from training.config import OptimizerName, TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from accelerate import Accelerator
    from torch import Tensor, nn

_OPTIMIZERS: Final[dict[OptimizerName, type[torch.optim.Optimizer]]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
_MAX_GRADIENT_NORM: Final = 1.0
WARMUP_SHARE: Final = 0.1  # of all steps


class ParameterGroup(NamedTuple):
    """Weights that are trained with one peak learning rate."""

    parameters: list[nn.Parameter]
    learning_rate: float


class Optimization:
    """The weights of a network that are trained, and what updates them.

    Attributes:
        accelerator: Accelerate's view of this training.
        network: As accelerate has wrapped it.
        weights: By name.
    """

    def __init__(
        self,
        network: nn.Module,
        groups: Sequence[ParameterGroup],
        accelerator: Accelerator,
        *,
        optimizer: OptimizerName,
        weight_decay: float,
        num_steps: int,
        warmup_share: float = WARMUP_SHARE,
    ) -> None:
        """Prepare ``network``, of which the weights in ``groups`` require gradients, for ``num_steps`` updates."""
        self.weights = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        self.accelerator = accelerator
        self._num_steps, self._warmup_share = num_steps, warmup_share
        self._learning_rates = [group.learning_rate for group in groups]
        made = _OPTIMIZERS[optimizer](
            [{"params": group.parameters} for group in groups],
            lr=groups[0].learning_rate,  # type: ignore[call-arg]
            weight_decay=weight_decay,
            fused=True,  # one pass over the weights; a head's step takes a third less time
        )
        self.network, self._optimizer = accelerator.prepare(network, made)

    def clear_gradients(self) -> None:
        """Forget the gradients of the step before."""
        self._optimizer.zero_grad()

    def update(self, step: int) -> None:
        """Clip the gradients and update the weights with the learning rates of ``step``, counted from 0.

        Raises:
            TrainingError: A gradient is not finite; the weights are as before.
        """
        norm = self.accelerator.clip_grad_norm_(self.weights.values(), _MAX_GRADIENT_NORM)
        if norm is not None and not math.isfinite(norm):
            raise TrainingError(f"the norm of the gradient is {float(norm)}")
        factor = learning_rate_factor(step, self._num_steps, self._warmup_share)
        for group, learning_rate in zip(self._optimizer.param_groups, self._learning_rates, strict=True):
            group["lr"] = learning_rate * factor
        self._optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """The weights and the optimizer's moments."""
        tensors = {f"weight.{name}": weight.detach() for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            for key, value in self._optimizer.state.get(weight, {}).items():
                if torch.is_tensor(value):  # SGD has a None
                    tensors[f"optimizer.{name}.{key}"] = value
        return tensors

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what ``state`` gave."""
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
        """Replace the values of the weights."""
        for name, weight in self.weights.items():
            weight.copy_(weights[name])

    def release(self) -> None:
        """Undo what accelerate did to the network."""
        self.accelerator.unwrap_model(self.network, keep_fp32_wrapper=False)


def learning_rate_factor(step: int, num_steps: int, warmup_share: float = WARMUP_SHARE) -> float:
    """Share of the peak learning rate in ``step``, counted from 0: linear warm-up, then a cosine down to 0."""
    num_warmup = max(1, int(num_steps * warmup_share))
    if step < num_warmup:
        return (step + 1) / num_warmup
    return 0.5 * (1 + math.cos(math.pi * (step - num_warmup) / max(1, num_steps - num_warmup)))

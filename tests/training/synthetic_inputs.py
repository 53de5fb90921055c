"""Inputs without pictures: features made of random numbers, and inputs that are interrupted."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from memeguard.classifier import MemeClassifier
    from training.inputs import Inputs

LABELS = np.array([1, 0] * 8)


class Features:
    """Features of width 32 that tell their labels; remembers which rows were asked for."""

    def __init__(self, labels: NDArray[np.int64] = LABELS) -> None:
        noise = torch.randn(2, len(labels), 32, generator=torch.Generator().manual_seed(0))
        self.image, self.text = noise + torch.from_numpy(2.0 * labels - 1)[:, None].float()
        self.asked: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.image)

    def network(self, classifier: MemeClassifier) -> nn.Module:
        return classifier.head

    def batches(self, rows: Iterable[Tensor]) -> Generator[tuple[Any, ...]]:
        for batch in rows:
            self.asked.append(batch.tolist())
            yield self.image[batch], self.text[batch]


class Interruption(BaseException):
    """As Ctrl-C, but nothing else."""


class Interrupted:
    """Other inputs, until ``num`` batches have been taken from them."""

    def __init__(self, inputs: Inputs, num: int) -> None:
        self._inputs, self._left = inputs, [num]

    def __len__(self) -> int:
        return len(self._inputs)

    def network(self, classifier: MemeClassifier) -> nn.Module:
        return self._inputs.network(classifier)

    def batches(self, rows: Iterable[Tensor]) -> Generator[tuple[Any, ...]]:
        for arguments in self._inputs.batches(rows):
            if not self._left[0]:
                raise Interruption
            self._left[0] -= 1
            yield arguments

    def augmented(self, seed: int) -> Inputs:
        other = copy.copy(self)  # which counts on where this one is
        other._inputs = self._inputs.augmented(seed)
        return other

"""Distil the teachers into the student: train its text tower, then its picture tower, with the given losses.

The towers are trained independently. The loop uses training's optimizer, schedule and checkpoints.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import torch
from torch import nn
from tqdm import trange

from starter.objectives import Recipe
from training.checkpoint import Checkpoint
from training.config import TrainingError
from training.devices import make_accelerator
from training.optimization import Optimization, ParameterGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from torch import Tensor

    from starter.student import Student

TEXT_RECIPE: Final = Recipe(num_steps=8000, learning_rate=5e-4)
PICTURE_RECIPE: Final = Recipe(num_steps=14000, learning_rate=1e-3)
_FORMAT: Final = 2  # of the checkpoints
_CLIP: Final = "weight.clip."  # begins the names of the student's weights in a checkpoint
_EVERY_S: Final = 300.0  # between two checkpoints
_WARMUP_SHARE: Final = 0.05  # of all steps
_LOG_STEPS: Final = 100


class Lesson(Protocol):
    """What one tower is taught."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """The weights that are trained."""

    def loss(self, step: int) -> Tensor:
        """The loss of a batch that depends on ``step`` alone."""


def learn(
    lesson: Lesson,
    student: Student,
    recipe: Recipe,
    checkpoint_path: Path,
    log: Callable[[int, float], None],
    *,
    extra: nn.Module | None = None,
    title: str,
) -> None:
    """Train a tower for all steps of ``recipe``, or for those that an interrupted training left.

    Args:
        lesson: Gives the loss of each step.
        student: Whose tower is trained.
        recipe: How to train.
        checkpoint_path: File of the checkpoint.
        log: Gets the number of the step and the mean loss of the last steps, every 100 steps.
        extra: A module besides the student that is trained.
        title: Title of the progress bar, and name of the training in its checkpoint.

    Raises:
        TrainingError: A gradient is not finite, or the checkpoint is damaged or of another recipe.
    """
    modules = nn.ModuleDict({"clip": student.clip, **({"extra": extra} if extra else {})})
    optimization = _prepare(modules, list(lesson.parameters()), recipe)
    checkpoint = _checkpoint(checkpoint_path, recipe, title)
    first = 0
    if kept := checkpoint.read():
        tensors, state = kept
        optimization.load(tensors)
        first = int(state["num_steps"])
    last_written = time.monotonic()
    recent: list[float] = []
    modules.train()
    for step in trange(first, recipe.num_steps, initial=first, total=recipe.num_steps, desc=title, disable=None):
        optimization.clear_gradients()
        with optimization.accelerator.autocast():
            loss = lesson.loss(step)
        optimization.accelerator.backward(loss)
        optimization.update(step)
        recent.append(loss.item())
        if (step + 1) % _LOG_STEPS == 0:
            log(step + 1, float(np.mean(recent[-_LOG_STEPS:])))
        if time.monotonic() - last_written > checkpoint.every_s or step + 1 == recipe.num_steps:
            checkpoint.write(optimization.state(), {"num_steps": step + 1})
            last_written = time.monotonic()
    optimization.release()
    modules.eval()


def read_weights(checkpoint_path: Path, recipe: Recipe, *, title: str) -> dict[str, Tensor]:
    """The weights of a trained tower, by their names in ``CLIPModel``.

    Raises:
        TrainingError: The tower is not trained to the end, or the checkpoint is damaged or of another recipe.
    """
    tensors, state = _checkpoint(checkpoint_path, recipe, title).read() or ({}, {"num_steps": 0})
    if state["num_steps"] < recipe.num_steps:
        raise TrainingError(f"{title} has taken {state['num_steps']} of its {recipe.num_steps} steps")
    return {name.removeprefix(_CLIP): tensor for name, tensor in tensors.items() if name.startswith(_CLIP)}


def _prepare(modules: nn.Module, parameters: list[nn.Parameter], recipe: Recipe) -> Optimization:
    modules.requires_grad_(requires_grad=False)
    for parameter in parameters:
        parameter.requires_grad = True
    return Optimization(
        modules,
        [ParameterGroup(parameters, recipe.learning_rate)],
        make_accelerator(torch.device("cpu"), "bf16", towers_learn=True),
        optimizer="adamw",
        weight_decay=recipe.weight_decay,
        num_steps=recipe.num_steps,
        warmup_share=_WARMUP_SHARE,
    )


def _checkpoint(path: Path, recipe: Recipe, title: str) -> Checkpoint:
    settings = {"title": title, "format": _FORMAT, **dataclasses.asdict(recipe)}
    return Checkpoint(path=path, settings=settings, every_s=_EVERY_S)

"""Keep the state of an unfinished training in one safetensors file with JSON in its header, complete or not there.

accelerate's own ``save_state`` pickles, and a kill leaves half a folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from training.config import TrainingError, describe_differences
from training.job import TrainingJob

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

_STATE, _SETTINGS, _CHECKSUM = "state", "settings", "blake2b"
# What may change when a training is resumed; the result then differs from that without the interruption.
_ADJUSTABLE: Final = frozenset({"learning_rate", "backbone_learning_rate", "device", "num_epochs", "patience"})


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The file of one training's state.

    Attributes:
        path: Path of the file; its folder is made when it is first written.
        settings: What the training depends on, ready for JSON. A state of other settings is refused.
        every_s: Seconds between two checkpoints within an epoch, 0 for every step; each epoch ends with one.
    """

    path: Path
    settings: Mapping[str, Any]
    every_s: float = TrainingJob.checkpoint_every_s

    def write(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace the state atomically: a kill leaves the old state or the new one.

        Raises:
            OSError: The disk is full, or the folder cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        staged = self.path.with_suffix(".partial")
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        header = {_STATE: json.dumps(state), _SETTINGS: json.dumps(self.settings)}
        header[_CHECKSUM] = _checksum(header, on_cpu)
        try:
            save_file(on_cpu, staged, header)
            with staged.open("rb") as file:
                os.fsync(file.fileno())
            staged.replace(self.path)
        except SafetensorError as error:  # what safetensors raises if the disk is full
            raise OSError(str(error)) from error
        finally:
            staged.unlink(missing_ok=True)

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Read the tensors, on the CPU, and the state; None if there is no file.

        Raises:
            TrainingError: The file is damaged, or of a training with other settings.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                header = file.metadata() or {}
                state, settings = json.loads(header[_STATE]), json.loads(header[_SETTINGS])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            if _checksum(header, tensors) != header[_CHECKSUM]:
                raise ValueError("its checksum differs")  # noqa: TRY301 - reported like other damage
        except (SafetensorError, KeyError, ValueError) as error:
            raise TrainingError(f"checkpoint {self.path} is damaged: {error}; remove it to start again") from error
        self._check_settings(settings)
        return tensors, state

    def _check_settings(self, found: dict[str, Any]) -> None:
        wanted = json.loads(json.dumps(self.settings))
        names = sorted((found.keys() | wanted.keys()) - _ADJUSTABLE)
        if differences := describe_differences(found, wanted, names):
            raise TrainingError(f"checkpoint {self.path} is of another training: {differences}")


def _checksum(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in (_STATE, _SETTINGS):
        digest.update(header[name].encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """A folder for the checkpoints of one command, which may train several times.

    Attributes:
        folder: Path of the folder, made when it is needed.
        settings: What all of these trainings depend on.
        every_s: See ``Checkpoint``.
    """

    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    every_s: float = TrainingJob.checkpoint_every_s

    def for_settings(self, settings: Mapping[str, Any]) -> Checkpoints:
        """The same folder for trainings that depend on ``settings``."""
        return replace(self, settings=settings)

    def exist(self) -> bool:
        """Whether there is a checkpoint."""
        return any(self.folder.glob("*.safetensors"))

    def remove(self) -> None:
        """Remove all checkpoints; the trainings are done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def named(self, name: str) -> Checkpoint:
        """The checkpoint of the training called ``name``."""
        return Checkpoint(
            path=self.folder / f"{name}.safetensors", settings={**self.settings, "part": name}, every_s=self.every_s
        )

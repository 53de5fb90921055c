"""One training as a person asks for it: on which memes, from which backbone, into which bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from evaluation.operating_points import Target
    from training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What to train, and where the bundle goes.

    Attributes:
        data: Folder of labelled memes.
        out: Folder of the bundle, new or empty.
        config: How to train.
        backbone: See ``load_backbone``.
        cache_dir: Folder in which the features of a frozen backbone are kept.
        max_skipped: Largest number of faulty memes that may be left out.
        resume: Whether to resume an interrupted training.
        checkpoint_every_s: Seconds between two checkpoints within an epoch; 0 writes one after every step.
        operating_points: Operating points to keep in the bundle.
    """

    data: Path
    out: Path
    config: TrainingConfig
    backbone: str = "tiny"
    cache_dir: Path
    max_skipped: int = 0
    resume: bool = False
    checkpoint_every_s: float = 60.0
    operating_points: tuple[Target, ...] = ()

    @property
    def checkpoint_folder(self) -> Path:
        """Folder of the checkpoints, beside the bundle."""
        out = self.out.resolve()
        return out.with_name(f"{out.name}.checkpoints")

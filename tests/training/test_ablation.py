"""The same model on both modalities and on each alone: what it sees is what the figures say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from memes.meme import Label, Meme
from training.ablation import compare_modalities
from training.config import TrainingConfig

if TYPE_CHECKING:
    from pathlib import Path

SIGNALS = {"text": (("red", "red"), ("cat", "dog")), "image": (("red", "lime"), ("cat", "cat"))}


@pytest.mark.parametrize("signal", SIGNALS)
def test_only_who_sees_the_signal_learns_it(signal: str, clip_folder: Path, tmp_path: Path) -> None:
    """Captions differ and pictures do not, or the other way round."""
    colours, captions = SIGNALS[signal]
    for colour in colours:
        Image.new("RGB", (48, 48), colour).save(tmp_path / f"{colour}.png")
    memes = [
        Meme(
            image_path=tmp_path / f"{colours[label]}.png",
            text=captions[label],
            label=Label(label),
            file="train.csv",
            row=row,
        )
        for row, label in enumerate([0, 1] * 8, 2)
    ]
    config = TrainingConfig(num_epochs=10, learning_rate=1e-2, batch_size=8, device="cpu")
    results = compare_modalities({"train": memes, "validation": memes}, str(clip_folder), config)
    assert list(results) == ["both", "image", "text"]
    assert {metrics.num for metrics in results.values()} == {16}
    assert results["both"].auroc == results[signal].auroc == 1.0
    blind = {"text": "image", "image": "text"}[signal]
    assert results[blind].auroc == pytest.approx(0.5, abs=0.35)  # rounding ranks what is equal

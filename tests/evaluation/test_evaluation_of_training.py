"""Evaluations of really trained models: one could learn its labels, the other had nothing to learn.

Red memes are offensive, green ones are not, and captions say nothing; or labels were shuffled, and pictures say nothing
either.
"""

from __future__ import annotations

import csv
import random
from typing import TYPE_CHECKING, NamedTuple

import pytest
from PIL import Image

from evaluation.evaluate import evaluate
from evaluation.page import write_evaluation
from memeguard.bundle import save_bundle
from memes.reading import read_splits
from training.config import TrainingConfig
from training.trainer import train

if TYPE_CHECKING:
    from pathlib import Path

    from evaluation.result import EvaluationResult

NUM_RED, NUM_GREEN = 5, 15  # shades; as many of each would hide that the labels changed places
SIZES = {"Training": 160, "Validation": 120, "Testing": 160}
QUICK = TrainingConfig(num_epochs=8, learning_rate=1e-2, batch_size=32, num_folds=0, device="cpu")
NO_BETTER = "The model is no better than chance"


class Evaluated(NamedTuple):
    """The evaluation of a trained model on the test split of its memes."""

    result: EvaluationResult
    page: str


def write_memes(folder: Path, *, shuffled: bool) -> None:
    """MultiOFF's layout; every picture is shown equally often."""
    (folder / "Labelled Images").mkdir(parents=True)
    (folder / "Split Dataset").mkdir()
    reds = {f"red{shade}.png": (255 - 8 * shade, 4 * shade, 4 * shade) for shade in range(NUM_RED)}
    greens = {f"green{shade}.png": (4 * shade, 255 - 8 * shade, 4 * shade) for shade in range(NUM_GREEN)}
    for name, colour in (reds | greens).items():
        Image.new("RGB", (48, 48), colour).save(folder / "Labelled Images" / name)
    for split, num in SIZES.items():
        pictures = [*reds, *greens] * (num // (NUM_RED + NUM_GREEN))
        labels = ["offensive" if name in reds else "Non-offensiv" for name in pictures]
        if shuffled:
            labels = shuffle_labels(labels, split)
        with (folder / "Split Dataset" / f"{split}_meme_dataset.csv").open("w", newline="") as file:
            memes = [(name, "look at this", label) for name, label in zip(pictures, labels, strict=True)]
            csv.writer(file).writerows([("image_name", "sentence", "label"), *memes])


def shuffle_labels(labels: list[str], split: str) -> list[str]:
    """By chance; on the test split so that every picture has each label equally often, lest chance favour a model."""
    if split == "Testing":
        return sorted(labels)
    return random.Random(split).sample(labels, len(labels))


def train_and_evaluate(folder: Path, backbone: Path, *, shuffled: bool) -> Evaluated:
    data = folder / "data"
    write_memes(data, shuffled=shuffled)
    save_bundle(train(read_splits(data), str(backbone), QUICK).bundle, folder / "bundle")
    result = evaluate(folder / "bundle", data, "test", device="cpu", num_resamples=1000)
    return Evaluated(result, write_evaluation(result, data, folder / "page").read_text("utf-8"))


@pytest.fixture(scope="module")
def plain(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    return train_and_evaluate(tmp_path_factory.mktemp("plain"), clip_folder, shuffled=False)


@pytest.fixture(scope="module")
def shuffled(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    return train_and_evaluate(tmp_path_factory.mktemp("shuffled"), clip_folder, shuffled=True)


def test_labels_keep_their_meaning_from_the_csv_to_the_report(plain: Evaluated) -> None:
    answers = plain.result.confusion
    assert plain.result.models["model"].auroc.value == 1.0
    assert (answers.offensive_as_offensive, answers.non_offensive_as_non_offensive) == (40, 120)
    assert (answers.offensive_as_non_offensive, answers.non_offensive_as_offensive) == (0, 0)
    assert plain.result.mistakes == ()


def test_what_learnt_from_pictures_is_said_to_beat_what_sees_none(plain: Evaluated) -> None:
    assert not [warning for warning in plain.result.warnings if "near-duplicate" not in warning]
    assert NO_BETTER not in plain.page
    assert plain.result.models["image-only"].auroc.value == 1.0
    assert plain.result.models["text-only"].auroc.value == 0.5


def test_shuffled_labels_are_reported_as_no_better_than_chance(shuffled: Evaluated) -> None:
    auroc = shuffled.result.models["model"].auroc
    assert auroc.low is not None
    assert auroc.high is not None
    assert auroc.low < 0.5 < auroc.high
    assert shuffled.result.warnings[0].startswith(NO_BETTER)
    assert NO_BETTER in shuffled.page[: shuffled.page.index("<h1>")]

"""A training that is interrupted anywhere and resumed ends as one that never stopped, to the last bit."""

from __future__ import annotations

import functools
import random
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch

from tests.training.synthetic_inputs import Interrupted, Interruption
from training.checkpoint import Checkpoint
from training.config import TrainingConfig, TrainingError
from training.experiment import Experiment, Fitted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from memes.meme import Meme

NUM_TRAIN, BATCH, NUM_EPOCHS = 20, 8, 4
NUM_STEPS = NUM_EPOCHS * 3  # the last batch of an epoch has four memes


@pytest.fixture(scope="module")
def experiments(demo_splits: dict[str, list[Meme]], clip_folder: Path) -> Callable[[str], Experiment]:
    """An experiment for each way of tuning; ``scratch`` is tiny."""
    splits = {"train": demo_splits["train"][:NUM_TRAIN], "validation": demo_splits["validation"][:8]}

    @functools.cache
    def make(tune: str) -> Experiment:
        if tune == "scratch":
            return Experiment(splits, "tiny", device="cpu")
        return Experiment(splits, str(clip_folder), tune=tune, device="cpu")

    return make


def make_config(tune: str, **settings: Any) -> TrainingConfig:
    parts = {"tune": None if tune == "scratch" else tune, "num_blocks": 1, "patience": 9}
    rates = {"learning_rate": 1e-2, "backbone_learning_rate": 1e-2}
    return TrainingConfig(**{**parts, **rates, "num_epochs": NUM_EPOCHS, "batch_size": BATCH, **settings})


class Point(NamedTuple):
    """Where to stop: in ``split``, after ``num`` batches."""

    split: str
    num: int


def fit_until(experiment: Experiment, config: TrainingConfig, checkpoint: Checkpoint, point: Point) -> None:
    """Fail unless the training is interrupted at ``point``."""
    inputs = dict(experiment.inputs)
    experiment.inputs = {**inputs, point.split: Interrupted(inputs[point.split], point.num)}
    try:
        with pytest.raises(Interruption):
            experiment.fit(config, checkpoint=checkpoint)
    finally:
        experiment.inputs = inputs


def assert_equal(resumed: Fitted, expected: Fitted) -> None:
    assert resumed.history == expected.history
    assert resumed.auroc == expected.auroc
    weights = expected.classifier.state_dict()
    for name, tensor in resumed.classifier.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


@pytest.mark.parametrize(
    ("tune", "settings"),
    [
        ("head", {}),
        ("head", {"averaging": 0.9}),
        ("lora", {}),
        ("last-blocks", {}),
        ("full", {}),
        ("full", {"averaging": 0.9, "augment": True}),
        ("scratch", {}),
    ],
)
@pytest.mark.parametrize("every_s", [0.0, float("inf")])
def test_a_training_stopped_several_times_ends_as_one_that_was_not(
    experiments: Callable[[str], Experiment], tmp_path: Path, tune: str, settings: dict[str, Any], every_s: float
) -> None:
    """In the middle of epochs, at their ends, before a validation; kept at each step or at each epoch's end."""
    experiment, config = experiments(tune), make_config(tune, **settings)
    expected = experiment.fit(config)
    checkpoint = Checkpoint(path=tmp_path / "model.safetensors", settings={}, every_s=every_s)
    for point in (Point("train", 4), Point("train", 2), Point("validation", 0), Point("train", 1)):
        fit_until(experiment, config, checkpoint, point)
    assert checkpoint.path.exists()
    assert_equal(experiment.fit(config, checkpoint=checkpoint), expected)


@pytest.mark.parametrize(("every_s", "num_kept"), [(0.0, 1), (float("inf"), 0)])
def test_no_more_work_is_done_again_than_was_not_kept(
    experiments: Callable[[str], Experiment], tmp_path: Path, every_s: float, num_kept: int
) -> None:
    """Stopped after the first of three steps of the second epoch."""
    experiment, config = experiments("head"), make_config("head")
    checkpoint = Checkpoint(path=tmp_path / "model.safetensors", settings={}, every_s=every_s)
    fit_until(experiment, config, checkpoint, Point("train", 4))
    _, state = checkpoint.read()
    assert (state["epoch"], state["step"], len(state["history"])) == (2, num_kept, 1)
    num_left = NUM_STEPS - 3 - num_kept
    twin = Checkpoint(path=tmp_path / "twin.safetensors", settings={})
    shutil.copy(checkpoint.path, twin.path)
    fit_until(experiment, config, twin, Point("train", num_left - 1))
    inputs = dict(experiment.inputs)
    experiment.inputs = {**inputs, "train": Interrupted(inputs["train"], num_left)}  # would stop one more step
    try:
        assert len(experiment.fit(config, checkpoint=checkpoint).history) == NUM_EPOCHS
    finally:
        experiment.inputs = inputs


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_every_optimizer_resumes_from_any_step(
    experiments: Callable[[str], Experiment], tmp_path: Path, optimizer: str
) -> None:
    experiment, config = experiments("head"), make_config("head", optimizer=optimizer)
    expected = experiment.fit(config)
    for num in range(0, NUM_STEPS, 1 if optimizer == "adamw" else 4):
        checkpoint = Checkpoint(path=tmp_path / f"{num}.safetensors", settings={}, every_s=0.0)
        fit_until(experiment, config, checkpoint, Point("train", num))
        assert_equal(experiment.fit(config, checkpoint=checkpoint), expected)


@pytest.mark.parametrize("seed", range(4))
def test_parts_of_batches_and_precision_resume_too(
    experiments: Callable[[str], Experiment], tmp_path: Path, seed: int
) -> None:
    """Stopped at random until it is done."""
    rng = random.Random(seed)
    tune = rng.choice(["lora", "full"])
    settings = {"accumulation_steps": rng.choice([1, 3]), "precision": rng.choice(["fp32", "bf16"]), "seed": seed}
    experiment, config = experiments(tune), make_config(tune, **settings)
    expected = experiment.fit(config)
    checkpoint = Checkpoint(path=tmp_path / "model.safetensors", settings={}, every_s=0.0)
    for _ in range(3):
        fit_until(experiment, config, checkpoint, Point("train", rng.randint(1, 3)))
    assert_equal(experiment.fit(config, checkpoint=checkpoint), expected)


@pytest.mark.parametrize("num_epochs", [2, 3, 4])
def test_patience_resumes_where_it_was(
    experiments: Callable[[str], Experiment], tmp_path: Path, num_epochs: int
) -> None:
    """At this learning rate no epoch is better than the first one."""
    experiment, config = experiments("head"), make_config("head", learning_rate=1e-9, patience=3, num_epochs=30)
    expected = experiment.fit(config)
    assert len(expected.history) == 4
    checkpoint = Checkpoint(path=tmp_path / "model.safetensors", settings={}, every_s=float("inf"))
    fit_until(experiment, config, checkpoint, Point("train", 3 * num_epochs - 1))
    assert_equal(experiment.fit(config, checkpoint=checkpoint), expected)


def test_the_best_weights_outlive_the_interruption(experiments: Callable[[str], Experiment], tmp_path: Path) -> None:
    """An epoch before the interruption is the best one, later epochs are worse."""
    experiment = experiments("head")
    for seed in range(20):
        config = make_config("head", num_epochs=6, learning_rate=3e-2, seed=seed)
        expected = experiment.fit(config)
        aurocs = [epoch["validation_auroc"] for epoch in expected.history]
        if 0 < aurocs.index(max(aurocs)) < 4:
            break
    else:
        pytest.fail("no seed whose best epoch is one in the middle")
    checkpoint = Checkpoint(path=tmp_path / "model.safetensors", settings={}, every_s=float("inf"))
    fit_until(experiment, config, checkpoint, Point("train", 17))
    assert_equal(experiment.fit(config, checkpoint=checkpoint), expected)


def test_a_training_that_was_done_is_not_repeated(experiments: Callable[[str], Experiment], tmp_path: Path) -> None:
    experiment, config = experiments("lora"), make_config("lora")
    checkpoint = Checkpoint(path=tmp_path / "model.safetensors", settings={})
    expected = experiment.fit(config, checkpoint=checkpoint)
    inputs = dict(experiment.inputs)
    experiment.inputs = {name: Interrupted(split, 0) for name, split in inputs.items()}
    try:
        again = experiment.fit(config, checkpoint=checkpoint)
    finally:
        experiment.inputs = inputs
    assert_equal(again, expected)


def test_a_training_resumes_with_other_settings(experiments: Callable[[str], Experiment], tmp_path: Path) -> None:
    experiment = experiments("head")
    checkpoint = Checkpoint(path=tmp_path / "model.safetensors", settings={})
    first = experiment.fit(make_config("head", num_epochs=2), checkpoint=checkpoint)
    longer = experiment.fit(make_config("head", num_epochs=5, learning_rate=1e-3), checkpoint=checkpoint)
    assert longer.history[:2] == first.history
    assert len(longer.history) == 5
    assert longer.history[2:] != experiment.fit(make_config("head", num_epochs=5)).history[2:]


def test_a_damaged_checkpoint_ends_training_before_it_begins(
    experiments: Callable[[str], Experiment], tmp_path: Path
) -> None:
    experiment = experiments("head")
    (tmp_path / "model.safetensors").write_bytes(b"no checkpoint")
    checkpoint = Checkpoint(path=tmp_path / "model.safetensors", settings={})
    with pytest.raises(TrainingError, match=r"model\.safetensors is damaged: .*; remove it to start again"):
        experiment.fit(make_config("head"), checkpoint=checkpoint)
    assert (tmp_path / "model.safetensors").read_bytes() == b"no checkpoint"

"""Out-of-fold predictions: each from a model that saw neither the meme nor its near-duplicates."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from memes.meme import Label, Meme
from training import cross_validation
from training.calibration import calibrate
from training.checkpoint import Checkpoints
from training.config import TrainingConfig, TrainingError
from training.cross_validation import OutOfFold, choose_num_folds, part_into_folds, predict_out_of_fold
from training.experiment import Experiment
from training.folds import group_duplicates

if TYPE_CHECKING:
    from pathlib import Path

QUICK = TrainingConfig(num_epochs=2, batch_size=16, device="cpu")


@pytest.fixture(scope="module")
def experiment(demo_splits: dict[str, list[Meme]], clip_folder: Path) -> Experiment:
    return Experiment(demo_splits, str(clip_folder), device="cpu")


@pytest.fixture(scope="module")
def held_out(experiment: Experiment) -> OutOfFold:
    return predict_in_folds(experiment, QUICK, 3)


def predict_in_folds(
    experiment: Experiment,
    config: TrainingConfig,
    num_folds: int,
    cache_dir: Path | None = None,
    checkpoints: Checkpoints | None = None,
) -> OutOfFold:
    folds = part_into_folds(experiment, dataclasses.replace(config, num_folds=num_folds), cache_dir)
    assert folds is not None
    assert folds.num == num_folds
    return predict_out_of_fold(experiment, config, folds, checkpoints=checkpoints)


def test_each_answer_is_of_a_model_that_learnt_from_the_other_folds(
    experiment: Experiment, held_out: OutOfFold
) -> None:
    assert np.bincount(held_out.folds.numbers).min() >= 10
    for fold in range(3):
        inside = held_out.folds.numbers == fold
        classifier = experiment.fit(QUICK, rows=np.flatnonzero(~inside)).classifier
        expected = experiment.predict_logits(classifier, "train")
        assert held_out.logits[inside] == pytest.approx(expected[inside], abs=1e-5)
        assert np.abs(held_out.logits[~inside] - expected[~inside]).min() > 1e-5


def test_the_folds_models_are_brought_to_the_scale_of_another(experiment: Experiment, held_out: OutOfFold) -> None:
    """A model that is twice as sure as that of a fold, and one logit higher, gives its memes such logits."""
    own = held_out.validation_logits[1]
    inside = held_out.folds.numbers == 1
    aligned = held_out.align(2 * own + 1)
    assert aligned[inside] == pytest.approx(2 * held_out.logits[inside] + 1)
    others = held_out.validation_logits[[0, 2]]
    assert own.std() != pytest.approx(others.std(axis=1), rel=1e-3)
    classifier = experiment.fit(QUICK, rows=np.flatnonzero(~inside)).classifier
    assert own == pytest.approx(experiment.predict_logits(classifier, "validation"), abs=1e-5)


def test_a_model_that_answers_always_the_same_can_be_aligned(held_out: OutOfFold) -> None:
    dull = dataclasses.replace(held_out, validation_logits=np.zeros_like(held_out.validation_logits))
    assert np.isfinite(dull.align(held_out.validation_logits[0])).all()
    assert dull.align(np.full(16, 0.5)).tolist() == [0.5] * 40


def test_near_duplicates_share_a_fold(experiment: Experiment, held_out: OutOfFold) -> None:
    groups = group_duplicates(experiment.memes["train"])
    assert held_out.folds.num_groups == len(np.unique(groups)) < 40
    assert all(len(np.unique(held_out.folds.numbers[groups == group])) == 1 for group in groups)


def test_the_summary_is_of_the_same_answers(experiment: Experiment, held_out: OutOfFold) -> None:
    labels = experiment.labels["train"]
    summary = held_out.summarize(labels)
    assert (summary["num_folds"], summary["num_groups"]) == (3, held_out.folds.num_groups)
    assert summary["auroc"] == roc_auc_score(labels, held_out.logits)
    inside = held_out.folds.numbers == 1
    assert summary["fold_auroc"][1] == roc_auc_score(labels[inside], held_out.logits[inside])
    assert len(summary["fold_auroc"]) == 3


def test_the_same_seed_gives_the_same_answers(experiment: Experiment, held_out: OutOfFold, tmp_path: Path) -> None:
    """With the pictures' hashes kept, and with checkpoints."""
    checkpoints = Checkpoints(folder=tmp_path / "kept")
    for _ in range(2):
        again = predict_in_folds(experiment, QUICK, 3, tmp_path / "cache", checkpoints)
        assert np.array_equal(again.logits, held_out.logits)
    assert sorted(path.stem for path in (tmp_path / "kept").iterdir()) == ["fold-1", "fold-2", "fold-3"]
    other = predict_in_folds(experiment, dataclasses.replace(QUICK, seed=1), 3)
    assert not np.array_equal(other.folds.numbers, held_out.folds.numbers)


def test_copies_teach_nothing_about_each_other(
    demo_splits: dict[str, list[Meme]], clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels are drawn by lot, once for all copies of a meme: whoever sees one of them knows the others."""
    originals = list({meme.text: meme for meme in demo_splits["train"]}.values())
    lots = np.random.default_rng(0).permutation(np.arange(len(originals)) % 2)
    drawn = [dataclasses.replace(meme, label=Label(lot)) for meme, lot in zip(originals, lots.tolist(), strict=True)]
    copies = drawn * 4
    experiment = Experiment({"train": copies, "validation": drawn}, str(clip_folder), device="cpu")
    config = TrainingConfig(num_epochs=25, batch_size=16, learning_rate=1e-2, patience=25, device="cpu")
    labels = experiment.labels["train"]
    honest = predict_in_folds(experiment, config, 4)
    assert honest.folds.num_groups == len(originals) == 20
    monkeypatch.setattr(cross_validation, "group_duplicates", lambda memes, _: np.arange(len(memes)))
    leaking = predict_in_folds(experiment, config, 4)
    assert roc_auc_score(labels, leaking.logits) > 0.85
    assert roc_auc_score(labels, honest.logits) < 0.75  # 0.5, give or take what 20 lots leave open
    # Nor do they make the model sure of itself: a head that knows nothing is told to say so.
    assert calibrate(labels, honest.logits).temperature > 3 * calibrate(labels, leaking.logits).temperature


def test_the_weight_of_the_rarer_label_is_not_in_the_answers(experiment: Experiment) -> None:
    """At this learning rate all weights stay as they were drawn, but for what is undone: log 20/5."""
    config = dataclasses.replace(QUICK, learning_rate=1e-30, num_epochs=1)
    labels = experiment.labels["train"]
    rows = np.concatenate([np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)[:5]])
    balanced, skewed = (
        experiment.predict_logits(experiment.fit(config, rows=some).classifier, "train") for some in (None, rows)
    )
    assert skewed - balanced == pytest.approx(np.log(20 / 5), abs=1e-5)


def test_too_few_memes_for_the_folds_are_told(experiment: Experiment) -> None:
    with pytest.raises(TrainingError, match=r"num_folds is 30, but split train has only \d+ .*offensive memes"):
        predict_in_folds(experiment, QUICK, 30)


@pytest.mark.parametrize(
    ("tune", "num_memes", "asked", "expected"),
    [("head", 50_000, None, 5), ("head", 50_001, None, 0), ("full", 40, None, 0), ("lora", 40, None, 0),
     ("full", 40, 3, 3), ("head", 40, 0, 0), ("head", 60_000, 2, 2)],
)  # fmt: skip
def test_folds_are_made_where_they_cost_seconds(tune: str, num_memes: int, asked: int | None, expected: int) -> None:
    experiment = SimpleNamespace(tune=tune, labels={"train": np.zeros(num_memes)})
    assert choose_num_folds(TrainingConfig(num_folds=asked), experiment) == expected

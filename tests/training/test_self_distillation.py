"""Teachers that judge what they did not learn from: nobody's label comes back to him, and mistakes give way."""

from __future__ import annotations

import copy
import dataclasses
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from memeguard.bundle import save_bundle
from training.calibration import fit_temperature
from training.checkpoint import Checkpoints
from training.config import TrainingConfig, TrainingError
from training.cross_validation import Folds, part_into_folds, predict_out_of_fold
from training.data.memes import Label, Meme
from training.experiment import Experiment, Fitted
from training.self_distillation import SelfDistillation
from training.trainer import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NUM_FOLDS = 4
QUICK = TrainingConfig(num_epochs=2, batch_size=16, self_distillation=0.75, num_folds=NUM_FOLDS, device="cpu")


@pytest.fixture(scope="module")
def experiment(demo_splits: dict[str, list[Meme]], clip_folder: Path) -> Experiment:
    return Experiment(demo_splits, str(clip_folder), device="cpu")


@pytest.fixture(scope="module")
def folds(experiment: Experiment) -> Folds:
    found = part_into_folds(experiment, QUICK)
    assert found is not None
    return found


class Count:
    """Lets ``Experiment.fit`` do its work and writes down what each training was called; stops the one it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop_at: int | None = None) -> None:
        self.titles: list[str] = []
        fit = Experiment.fit

        def counted(one: Experiment, *parts: Any, title: str = "train", **named: Any) -> Fitted:
            if len(self.titles) == stop_at:
                raise KeyboardInterrupt
            self.titles.append(title)
            return fit(one, *parts, title=title, **named)

        monkeypatch.setattr(Experiment, "fit", counted)


def test_what_is_learnt_of_a_meme_is_said_by_a_teacher_that_did_not_see_it(
    experiment: Experiment, folds: Folds
) -> None:
    targets = SelfDistillation(experiment, QUICK, folds).targets()
    labels = experiment.labels["train"]
    logits = np.empty(len(labels))
    for number in range(NUM_FOLDS):
        inside = folds.numbers == number
        teacher = experiment.fit(QUICK, rows=np.flatnonzero(~inside)).classifier
        logits[inside] = experiment.predict_logits(teacher, "train", np.flatnonzero(inside))
    offensive = 1 / (1 + np.exp(-logits / fit_temperature(labels, logits)))
    assert targets == pytest.approx(0.25 * labels + 0.75 * offensive, abs=1e-6)


@pytest.mark.parametrize("held_out", [None, 2])
def test_the_share_parts_a_target_between_label_and_teachers(
    experiment: Experiment, folds: Folds, held_out: int | None
) -> None:
    found = [
        SelfDistillation(experiment, dataclasses.replace(QUICK, self_distillation=share), folds).targets(held_out)
        for share in (0.0, 0.4, 1.0)
    ]
    labels = experiment.labels["train"][folds.numbers != held_out] if held_out else experiment.labels["train"]
    assert np.array_equal(found[0], labels)
    assert found[1] == pytest.approx(0.6 * found[0] + 0.4 * found[2])
    assert ((found[2] > 0) & (found[2] < 1)).all()


def test_a_fold_that_is_held_out_has_no_say(experiment: Experiment, folds: Folds) -> None:
    """Its labels are turned round, so that a teacher that had learnt one of them would say something else."""
    turned = copy.copy(experiment)
    labels = np.where(folds.numbers == 1, 1 - experiment.labels["train"], experiment.labels["train"])
    turned.labels = {**experiment.labels, "train": labels}
    before, after = (SelfDistillation(one, QUICK, folds) for one in (experiment, turned))
    assert len(before.targets(1)) == np.count_nonzero(folds.numbers != 1)
    assert np.array_equal(before.targets(1), after.targets(1))
    for other in (None, 0, 2, 3):
        assert not np.allclose(before.targets(other), after.targets(other), atol=1e-4), other


def test_each_teacher_is_trained_once(experiment: Experiment, folds: Folds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four without a fold, and six without two; whoever held out one fold or the other asks the same."""
    count = Count(monkeypatch)
    distillation = SelfDistillation(experiment, QUICK, folds)
    assert count.titles == []
    distillation.targets()
    assert count.titles == [f"teacher-without-{number}" for number in (1, 2, 3, 4)]
    for held_out in (3, 0, 1, 2, None):
        distillation.targets(held_out)
        distillation.summarize()
    pairs = [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]
    assert sorted(count.titles[4:]) == [f"teacher-without-{one}-{other}" for one, other in pairs]


def colour_memes(num: int) -> list[Meme]:
    """Red is offensive and lime is not, but every tenth label is wrong."""
    memes = []
    for row in range(num):
        offensive = row % 2 == 1
        buffer = io.BytesIO()
        Image.new("RGB", (32, 32), (230 - row, row, 20) if offensive else (row, 230 - row, 20)).save(buffer, "PNG")
        wrong = row % 10 in {4, 9} and row % 20 < 10
        memes.append((buffer.getvalue(), Label(int(offensive != wrong))))
    return memes


@pytest.fixture
def mislabelled(tmp_path: Path, clip_folder: Path) -> Experiment:
    splits = {}
    for split, num in (("train", 80), ("validation", 20)):
        splits[split] = []
        for row, (content, label) in enumerate(colour_memes(num)):
            path = tmp_path / f"{split}-{row}.png"
            path.write_bytes(content)
            splits[split].append(Meme(image_path=path, text="a colour", label=label, file="memes.csv", row=row + 1))
    return Experiment(splits, str(clip_folder), device="cpu")


def test_a_wrong_label_gives_way(mislabelled: Experiment) -> None:
    """Teachers know the colours from other memes, whatever this one's label says."""
    config = TrainingConfig(num_epochs=20, batch_size=16, learning_rate=1e-2, self_distillation=0.9, device="cpu")
    folds = Folds(np.arange(80) % 7 % NUM_FOLDS, 80)
    labels, truth = mislabelled.labels["train"], np.arange(80) % 2
    wrong = labels != truth
    assert wrong.sum() == 8
    targets = SelfDistillation(mislabelled, config, folds).targets()
    error = np.abs(targets - truth)
    assert error[wrong].mean() < 0.4  # the labels': 1
    assert error[wrong].max() < 0.75
    assert error[~wrong].max() < 0.5


@pytest.fixture(scope="module")
def expected(demo_splits: dict[str, list[Meme]], clip_folder: Path) -> Any:
    return train(demo_splits, str(clip_folder), QUICK)


def test_a_training_learns_the_targets_and_is_cross_validated_with_them(
    expected: Any, experiment: Experiment, folds: Folds
) -> None:
    distillation = SelfDistillation(experiment, QUICK, folds)
    fitted = experiment.fit(QUICK, targets=distillation.targets())
    assert np.array_equal(
        experiment.predict_logits(expected.bundle.classifier, "validation"),
        experiment.predict_logits(fitted.classifier, "validation"),
    )
    assert fitted.history != experiment.fit(QUICK).history
    held_out = predict_out_of_fold(experiment, QUICK, folds, distillation=distillation)
    rest, inside = np.flatnonzero(folds.numbers != 3), np.flatnonzero(folds.numbers == 3)
    pupil = experiment.fit(QUICK, rows=rest, targets=distillation.targets(3)).classifier
    assert np.array_equal(held_out.logits[inside], experiment.predict_logits(pupil, "train", inside))
    report = expected.report
    assert report["cross_validation"] == held_out.summarize(experiment.labels["train"])
    assert report["self_distillation"] == distillation.summarize()
    assert report["self_distillation"]["num_folds"] == NUM_FOLDS
    assert report["training"]["self_distillation"] == 0.75


@pytest.mark.parametrize("stop_at", [1, 3, 4, 6, 12])
def test_an_interrupted_training_asks_no_teacher_twice(
    expected: Any,
    demo_splits: dict[str, list[Meme]],
    clip_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: int,
) -> None:
    """Of 4 + 6 teachers, 4 folds and the model itself; what is kept of a teacher is its answers, not its weights."""
    checkpoints = Checkpoints(folder=tmp_path / "kept")
    with pytest.MonkeyPatch.context() as patch:
        Count(patch, stop_at)
        with pytest.raises(KeyboardInterrupt):
            train(demo_splits, str(clip_folder), QUICK, checkpoints=checkpoints)
    kept = {path.stem for path in checkpoints.folder.iterdir()}
    assert {name for name in kept if name.startswith("teacher")} == {name for name in kept if name.endswith("-answers")}
    count = Count(monkeypatch)
    resumed = train(demo_splits, str(clip_folder), QUICK, checkpoints=checkpoints)
    num_teachers = sum(title.startswith("teacher") for title in count.titles)
    assert num_teachers == 10 - sum(name.endswith("-answers") for name in kept) < 10
    assert resumed.report == expected.report
    folders = {name: tmp_path / name for name in ("resumed", "expected")}
    save_bundle(resumed.bundle, folders["resumed"])
    save_bundle(expected.bundle, folders["expected"])
    assert len({(folder / "model.safetensors").read_bytes() for folder in folders.values()}) == 1


def test_without_folds_five_teach_and_the_validation_split_calibrates(
    demo_splits: dict[str, list[Meme]], clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Count(monkeypatch)
    result = train(demo_splits, str(clip_folder), dataclasses.replace(QUICK, num_folds=0))
    assert count.titles == [*(f"teacher-without-{number}" for number in range(1, 6)), "train"]
    assert result.report["cross_validation"] is None
    assert (result.report["training"]["num_folds"], result.report["self_distillation"]["num_folds"]) == (0, 5)


def test_labels_alone_ask_nobody(expected: Any, demo_splits: dict[str, list[Meme]], clip_folder: Path) -> None:
    plain = train(demo_splits, str(clip_folder), dataclasses.replace(QUICK, self_distillation=0.0))
    assert plain.report["self_distillation"] is None
    assert plain.report["epochs"] != expected.report["epochs"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"self_distillation": 1.5}, r"self_distillation is 1\.5; it must be in \[0, 1\]"),
        ({"self_distillation": float("nan")}, "self_distillation is nan"),
        ({"num_folds": 2}, "num_folds is 2; with self_distillation it must be 0, or at least 3"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        dataclasses.replace(QUICK, **settings)


def test_too_few_memes_for_teachers_are_told(
    demo_splits: dict[str, list[Meme]], clip_folder: Path, make_few: Callable[[list[Meme]], list[Meme]]
) -> None:
    splits = {**demo_splits, "train": make_few(demo_splits["train"])}
    message = "self_distillation needs 5 folds: num_folds is 5, but split train has only 3 offensive memes"
    with pytest.raises(TrainingError, match=message):
        train(splits, str(clip_folder), dataclasses.replace(QUICK, num_folds=0))


@pytest.fixture
def make_few() -> Callable[[list[Meme]], list[Meme]]:
    def keep_three_offensive(memes: list[Meme]) -> list[Meme]:
        offensive = list({meme.text: meme for meme in memes if meme.label is Label.OFFENSIVE}.values())
        return [*offensive[:3], *(meme for meme in memes if meme.label is not Label.OFFENSIVE)]

    return keep_three_offensive

"""Epochs: what learns and what does not, which epoch's weights are kept, and what happens when the loss explodes."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor

from training.config import TrainingConfig, TrainingError
from training.loop import _learning_rate_factor, fit, predict_probabilities

if TYPE_CHECKING:
    from collections.abc import Callable

    from memeguard.bundle import Bundle
    from memeguard.classifier import MemeClassifier

LABELS = np.array([1, 0] * 8)


class Features:
    """Memes whose features tell their label; ``observe`` sees the classifier before each pass."""

    def __init__(self, labels: np.ndarray = LABELS, observe: Callable[[MemeClassifier], object] | None = None) -> None:
        noise = torch.randn(2, len(labels), 32, generator=torch.Generator().manual_seed(0))
        self._image, self._text = noise + torch.from_numpy(2.0 * labels - 1)[:, None].float()
        self._observe = observe or (lambda _: None)

    def __len__(self) -> int:
        return len(self._image)

    def logits(self, classifier: MemeClassifier, rows: Tensor) -> Tensor:
        self._observe(classifier)
        return classifier.head(self._image[rows], self._text[rows])


class TowerFeatures(Features):
    """The same through one weight of a tower, so that the tower may learn."""

    def logits(self, classifier: MemeClassifier, rows: Tensor) -> Tensor:
        return super().logits(classifier, rows) + classifier.clip.text_model.final_layer_norm.weight.mean()


class Scripted:
    """Memes that are ranked by script: one list of offensive logits per evaluation."""

    def __init__(self, *epochs: list[float]) -> None:
        self._epochs = iter(epochs)
        self.heads: list[dict[str, Tensor]] = []

    def __len__(self) -> int:
        return 2

    def logits(self, classifier: MemeClassifier, rows: Tensor) -> Tensor:
        self.heads.append(copy.deepcopy(classifier.head.state_dict()))
        return torch.tensor(next(self._epochs))[rows]


@pytest.fixture
def classifier(small_bundle: Bundle) -> MemeClassifier:
    return copy.deepcopy(small_bundle.classifier)


def run(
    classifier: MemeClassifier, train: Any = None, validation: Any = None, **settings: Any
) -> list[dict[str, float]]:
    train_backbone = settings.pop("train_backbone", False)
    inputs = {"train": train or Features(), "validation": validation or Features()}
    labels = {"train": LABELS, "validation": LABELS[: len(inputs["validation"])]}
    config = TrainingConfig(**{"num_epochs": 3, "batch_size": 8, "learning_rate": 1e-2, **settings})
    return fit(classifier, inputs, labels, config, train_backbone=train_backbone)


def changed(before: dict[str, Tensor], classifier: MemeClassifier) -> set[str]:
    return {name for name, tensor in classifier.state_dict().items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_the_loss_falls_and_the_ranking_rises(classifier: MemeClassifier, optimizer: str) -> None:
    rate = 0.3 if optimizer == "sgd" else 1e-2
    history = run(classifier, optimizer=optimizer, num_epochs=8, learning_rate=rate)
    assert len(history) == 8
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert max(epoch["validation_auroc"] for epoch in history) == 1.0


def test_a_frozen_backbone_stays_as_it_is(classifier: MemeClassifier) -> None:
    before = copy.deepcopy(classifier.state_dict())
    run(classifier, TowerFeatures())
    assert changed(before, classifier) == {name for name in before if name.startswith("head.")}


def test_a_backbone_that_learns_changes(classifier: MemeClassifier) -> None:
    before = copy.deepcopy(classifier.state_dict())
    run(classifier, TowerFeatures(), train_backbone=True)
    assert "clip.text_model.final_layer_norm.weight" in changed(before, classifier)


@pytest.mark.parametrize("train_backbone", [False, True])
def test_only_what_learns_is_in_training_mode(classifier: MemeClassifier, *, train_backbone: bool) -> None:
    """A frozen tower's dropout would blur the features."""
    modes: set[tuple[bool, bool]] = set()

    def observe(model: MemeClassifier) -> None:
        modes.add((model.clip.vision_model.training, model.head.training))

    run(classifier, Features(observe=observe), train_backbone=train_backbone)
    assert modes == {(train_backbone, True)}
    assert not any(module.training for module in classifier.modules())


def test_validation_happens_without_dropout(classifier: MemeClassifier) -> None:
    modes: set[bool] = set()
    run(classifier, validation=Features(observe=lambda model: modes.add(model.training or model.head.training)))
    assert modes == {False}


def test_the_best_epochs_weights_are_kept(classifier: MemeClassifier) -> None:
    """Labels are offensive, harmless: the second epoch alone ranks them rightly."""
    wrong, tie, right = [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]
    validation = Scripted(tie, right, wrong, tie, wrong)
    history = run(classifier, validation=validation, num_epochs=5, patience=9)
    assert [epoch["validation_auroc"] for epoch in history] == [0.5, 1.0, 0.0, 0.5, 0.0]
    kept = classifier.head.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in validation.heads[1].items())
    assert any(not torch.equal(kept[name], tensor) for name, tensor in validation.heads[4].items())


def test_of_equal_epochs_the_first_is_kept(classifier: MemeClassifier) -> None:
    right = [2.0, 1.0]
    validation = Scripted(right, right, right)
    run(classifier, validation=validation)
    kept = classifier.head.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in validation.heads[0].items())


@pytest.mark.parametrize("patience", [1, 2])
def test_training_stops_when_patience_ends(classifier: MemeClassifier, patience: int) -> None:
    validation = Scripted([1.0, 1.0], [2.0, 1.0], *[[0.0, 1.0]] * 10)
    assert len(run(classifier, validation=validation, num_epochs=12, patience=patience)) == 2 + patience


def test_the_rarer_label_weighs_as_much_as_the_other_one(classifier: MemeClassifier) -> None:
    """Where features say nothing, the best logit is 0 then, not the logarithm of one to seven."""
    labels = np.array([1, *[0] * 7])
    inputs = Features(np.zeros(8))
    inputs._image, inputs._text = torch.ones(2, 8, 32)
    config = TrainingConfig(num_epochs=60, batch_size=8, learning_rate=1e-2, patience=60)
    rising = Scripted(*([float(epoch > 58), 0.0] for epoch in range(60)))  # the last epoch is the best one
    splits = {"train": inputs, "validation": rising}
    fit(classifier, splits, {"train": labels, "validation": labels[:2]}, config, train_backbone=False)
    logit = classifier.head(torch.ones(1, 32), torch.ones(1, 32)).item()
    assert logit == pytest.approx(0.0, abs=0.3)


def test_every_meme_is_seen_once_an_epoch_in_another_order(classifier: MemeClassifier) -> None:
    class Recorder(Features):
        rows: list[list[int]] = []  # noqa: RUF012 - lives as long as the test

        def logits(self, classifier: MemeClassifier, rows: Tensor) -> Tensor:
            self.rows.append(rows.tolist())
            return super().logits(classifier, rows)

    recorder = Recorder()
    run(classifier, recorder, num_epochs=2, batch_size=5)
    assert [len(rows) for rows in recorder.rows] == [5, 5, 5, 1] * 2
    first, second = (list(itertools.chain(*rows)) for rows in (recorder.rows[:4], recorder.rows[4:]))
    assert sorted(first) == sorted(second) == list(range(16))
    assert first != second


class Scaled(Features):
    """Logits multiplied by one factor after the other, step by step."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self._factors = iter(factors)

    def logits(self, classifier: MemeClassifier, rows: Tensor) -> Tensor:
        return super().logits(classifier, rows) * next(self._factors)


def gradient_norm(classifier: MemeClassifier) -> float:
    gradients = [parameter.grad for parameter in classifier.head.parameters() if parameter.grad is not None]
    return float(torch.cat([gradient.flatten() for gradient in gradients]).norm())


def test_a_step_forgets_the_gradients_of_the_one_before(classifier: MemeClassifier) -> None:
    """In the second step the loss depends on no weight."""
    run(classifier, Scaled(1.0, 0.0), batch_size=8, num_epochs=1)
    assert gradient_norm(classifier) == 0.0


def test_gradients_are_clipped(classifier: MemeClassifier) -> None:
    run(classifier, Scaled(1.0, -1e4), batch_size=8, num_epochs=1)
    assert gradient_norm(classifier) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_training(classifier: MemeClassifier, value: float) -> None:
    message = r"the loss is (nan|inf) in epoch 1; choose a learning rate below 0\.01"
    with pytest.raises(TrainingError, match=message):
        run(classifier, Scaled(value))


def test_weights_that_explode_in_an_epochs_last_step_end_training(classifier: MemeClassifier) -> None:
    """The loss is finite still, the validation after it is not."""
    with pytest.raises(TrainingError, match=r"answers are not numbers in epoch 2; choose a learning rate below 0\.01"):
        run(classifier, validation=Scripted([1.0, 0.0], [float("nan"), 0.0]))


def test_the_learning_rate_rises_for_a_tenth_and_falls_to_nothing() -> None:
    factors = [_learning_rate_factor(step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert max(factors) == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert 0.0 < factors[-1] < 0.01


def test_the_last_steps_are_small(classifier: MemeClassifier) -> None:
    """AdamW moves a weight by about the learning rate of the moment."""
    biases: list[float] = []
    observed = Features(observe=lambda model: biases.append(model.head.classifier[-1].bias.item()))
    run(classifier, observed, num_epochs=10, batch_size=8, patience=10)
    moves = np.abs(np.diff(biases))
    assert len(moves) == 19
    assert moves[-2:].max() < 0.2 * moves.max()


@pytest.mark.parametrize("num_steps", [1, 2, 9])
def test_a_few_steps_learn_too(num_steps: int) -> None:
    factors = [_learning_rate_factor(step, num_steps) for step in range(num_steps)]
    assert factors[0] == 1.0
    assert min(factors) > 0.0


def test_probabilities_are_of_being_harmless_and_in_order(classifier: MemeClassifier) -> None:
    """Over several batches: 130 memes, 64 to a batch."""

    class Ranked(Features):
        def logits(self, classifier: MemeClassifier, rows: Tensor) -> Tensor:  # noqa: ARG002
            return rows.float() - 65

    classifier.train()
    probabilities = predict_probabilities(classifier, Ranked(np.zeros(130)))
    assert probabilities.shape == (130,)
    assert (np.diff(probabilities) <= 0).all()
    assert probabilities[65] == 0.5
    assert not classifier.training

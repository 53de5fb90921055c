"""Epochs: what is trained and what is not, which epoch's weights are kept, and what happens when the loss explodes."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from memeguard.bundle import Bundle
from memeguard.torch_runtime import TorchPredictor
from tests.training.synthetic_inputs import LABELS, Features
from training.checkpoint import Checkpoint
from training.config import TrainingConfig, TrainingError
from training.inputs import PixelInputs
from training.loop import fit, predict_logits
from training.optimization import learning_rate_factor
from training.tuning import Tuning

if TYPE_CHECKING:
    from pathlib import Path

    from memeguard.classifier import FusionHead, MemeClassifier
    from memes.meme import Meme


class ScriptedNetwork(nn.Module):
    """A head whose answers are multiplied by ``factors`` while it learns and replaced by ``answers`` when it is asked.

    The factors are used step by step, the answers, a list of logits each, epoch by epoch.
    """

    def __init__(self, head: FusionHead, answers: tuple[list[float], ...], factors: tuple[float, ...]) -> None:
        super().__init__()
        self.head, self._answers, self._factors = head, iter(answers), iter(factors)
        self.heads: list[dict[str, Tensor]] = []

    def forward(self, image_BD: Tensor, text_BD: Tensor) -> Tensor:
        if self.training:
            return self.head(image_BD, text_BD) * next(self._factors, 1.0)
        self.heads.append(copy.deepcopy(self.head.state_dict()))
        return torch.tensor(next(self._answers))


class Scripted(Features):
    """Memes to learn from by a scripted network; it is asked about two memes, offensive and harmless."""

    def __init__(self, *answers: list[float], factors: tuple[float, ...] = ()) -> None:
        super().__init__()
        self._script = (answers or ([2.0, 1.0],) * 99, factors)
        self.heads: list[dict[str, Tensor]] = []

    def network(self, classifier: MemeClassifier) -> nn.Module:
        network = ScriptedNetwork(classifier.head, *self._script)
        self.heads = network.heads
        return network


@pytest.fixture
def classifier(small_bundle: Bundle) -> MemeClassifier:
    return copy.deepcopy(small_bundle.classifier)


def run(
    classifier: MemeClassifier,
    train: Any = None,
    validation: Any = None,
    *,
    labels: np.ndarray = LABELS,
    checkpoint: Checkpoint | None = None,
    **settings: Any,
) -> list[dict[str, float]]:
    if validation is None:
        validation = Features(LABELS[:2]) if isinstance(train, Scripted) else Features()
    inputs = {"train": train or Features(), "validation": validation}
    config = TrainingConfig(**{"num_epochs": 3, "batch_size": 8, "learning_rate": 1e-2, **settings})
    groups = Tuning(classifier, config, pretrained=True).groups
    targets = {"train": labels, "validation": LABELS[: len(validation)]}
    return fit(classifier, inputs, targets, config, groups, checkpoint=checkpoint)


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
    run(classifier)
    assert changed(before, classifier) == {name for name in before if name.startswith("head.")}


@pytest.mark.parametrize(("tune", "towers_learn"), [("head", False), ("full", True)])
def test_only_what_learns_is_in_training_mode(
    classifier: MemeClassifier,
    small_bundle: Bundle,
    demo_splits: dict[str, list[Meme]],
    tune: str,
    *,
    towers_learn: bool,
) -> None:
    """A frozen tower's dropout would blur the features; there is no dropout in a prediction."""
    modes: set[tuple[bool, ...]] = set()

    def observe(head: nn.Module, arguments: object) -> None:
        towers = (classifier.clip.vision_model.encoder, classifier.clip.text_model.encoder)
        modes.add((torch.is_grad_enabled(), head.training, *(tower.training for tower in towers)))

    classifier.head.register_forward_pre_hook(observe)
    inputs = Features()
    if towers_learn:
        predictor = TorchPredictor(Bundle(classifier, small_bundle.tokenizer))
        inputs = PixelInputs(predictor, demo_splits["train"][:16])
    classifier.train()
    run(classifier, inputs, inputs, tune=tune, num_epochs=2)
    assert modes == {(True, True, towers_learn, towers_learn), (False, False, False, False)}
    assert not any(module.training for module in classifier.modules())


def test_the_best_epochs_weights_are_kept(classifier: MemeClassifier) -> None:
    """The second epoch alone ranks the offensive meme above the harmless one."""
    wrong, tie, right = [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]
    train = Scripted(tie, right, wrong, tie, wrong)
    history = run(classifier, train, num_epochs=5, patience=9)
    assert [epoch["validation_auroc"] for epoch in history] == [0.5, 1.0, 0.0, 0.5, 0.0]
    kept = classifier.head.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in train.heads[1].items())
    assert any(not torch.equal(kept[name], tensor) for name, tensor in train.heads[4].items())


def test_of_equal_epochs_the_first_is_kept(classifier: MemeClassifier) -> None:
    train = Scripted()
    run(classifier, train)
    kept = classifier.head.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in train.heads[0].items())


@pytest.mark.parametrize("patience", [1, 2])
def test_training_stops_when_patience_ends(classifier: MemeClassifier, patience: int) -> None:
    train = Scripted([1.0, 1.0], [2.0, 1.0], *[[0.0, 1.0]] * 10)
    assert len(run(classifier, train, num_epochs=12, patience=patience)) == 2 + patience


def test_the_rarer_label_weighs_as_much_as_the_other_one(classifier: MemeClassifier) -> None:
    """Where features say nothing, the best logit is 0 then, not the logarithm of one to seven."""
    labels = np.array([1, *[0] * 7])
    train = Scripted(*([float(epoch > 58), 0.0] for epoch in range(60)))  # the last epoch is the best one
    train.image, train.text = torch.ones(2, 8, 32)
    run(classifier, train, labels=labels, num_epochs=60, patience=60)
    assert classifier.head(torch.ones(1, 32), torch.ones(1, 32)).item() == pytest.approx(0.0, abs=0.3)


def test_every_meme_is_seen_once_an_epoch_in_another_order(classifier: MemeClassifier) -> None:
    orders = []
    for seed in (0, 0, 1):
        train = Features()
        run(classifier, train, num_epochs=2, batch_size=5, seed=seed)
        assert [len(rows) for rows in train.asked] == [5, 5, 5, 1] * 2
        orders.append([list(itertools.chain(*train.asked[:4])), list(itertools.chain(*train.asked[4:]))])
    assert all(sorted(epoch) == list(range(16)) for order in orders for epoch in order)
    assert orders[0][0] != orders[0][1]
    assert orders[0] == orders[1] != orders[2]


def gradient_norm(classifier: MemeClassifier) -> float:
    gradients = [parameter.grad for parameter in classifier.head.parameters() if parameter.grad is not None]
    return float(torch.cat([gradient.flatten() for gradient in gradients]).norm())


def test_a_step_forgets_the_gradients_of_the_one_before(classifier: MemeClassifier) -> None:
    """In the second step the loss depends on no weight."""
    run(classifier, Scripted(factors=(1.0, 0.0)), num_epochs=1)
    assert gradient_norm(classifier) == 0.0


def test_gradients_are_clipped(classifier: MemeClassifier) -> None:
    run(classifier, Scripted(factors=(1.0, -1e4)), num_epochs=1)
    assert gradient_norm(classifier) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_training_and_moves_nothing(classifier: MemeClassifier, value: float) -> None:
    before = copy.deepcopy(classifier.state_dict())
    message = r"the loss is (nan|inf) in epoch 1; choose a learning rate below 0\.01$"
    with pytest.raises(TrainingError, match=message):
        run(classifier, Scripted(factors=(value,)))
    assert changed(before, classifier) == set()


def test_the_last_good_state_is_named_when_the_loss_explodes(classifier: MemeClassifier, tmp_path: Path) -> None:
    checkpoint = Checkpoint(path=tmp_path / "kept" / "model.safetensors", settings={})
    with pytest.raises(TrainingError, match=r"in epoch 2; .* --resume to continue from .*model\.safetensors$"):
        run(classifier, Scripted(factors=(1.0, 1.0, float("nan"))), checkpoint=checkpoint)
    tensors, state = checkpoint.read()
    assert state["epoch"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


def test_weights_that_explode_in_an_epochs_last_step_end_training(classifier: MemeClassifier) -> None:
    """The loss is finite still, the validation after it is not."""
    with pytest.raises(TrainingError, match=r"answers are not numbers in epoch 2; choose a learning rate below 0\.01"):
        run(classifier, Scripted([1.0, 0.0], [float("nan"), 0.0]))


def test_the_learning_rate_rises_for_a_tenth_and_falls_to_nothing() -> None:
    factors = [learning_rate_factor(step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert max(factors) == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert 0.0 < factors[-1] < 0.01


def test_the_warmup_may_be_shorter() -> None:
    factors = [learning_rate_factor(step, 1000, 0.05) for step in range(1000)]
    assert (factors[0], factors[24], factors[49]) == (1 / 50, 0.5, 1.0)
    assert factors[525] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("num_steps", [1, 2, 9])
def test_a_few_steps_learn_too(num_steps: int) -> None:
    factors = [learning_rate_factor(step, num_steps) for step in range(num_steps)]
    assert factors[0] == 1.0
    assert min(factors) > 0.0


def test_the_last_steps_are_small(classifier: MemeClassifier) -> None:
    """AdamW moves a weight by about the learning rate of the moment."""
    biases: list[float] = []
    classifier.head.register_forward_pre_hook(
        lambda head, _: biases.append(head.classifier[-1].bias.item()) if head.training else None
    )
    run(classifier, num_epochs=10, patience=10)
    moves = np.abs(np.diff(biases))
    assert len(moves) == 19
    assert moves[-2:].max() < 0.2 * moves.max()


class Ranked(Features):
    """130 memes, 64 to a batch, whose logits are their rows less 65."""

    def __init__(self) -> None:
        super().__init__(np.zeros(130, dtype=np.int64))
        self.image = torch.arange(130.0) - 65

    def network(self, _: MemeClassifier) -> nn.Module:
        return Taken()


class Taken(nn.Module):
    def forward(self, image_B: Tensor, _: Tensor) -> Tensor:
        return image_B


def test_logits_come_in_order() -> None:
    inputs = Ranked()
    assert predict_logits(Taken(), inputs).tolist() == [row - 65 for row in range(130)]
    assert [len(rows) for rows in inputs.asked] == [64, 64, 2]

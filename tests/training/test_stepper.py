"""One step: parts give what the whole batch gives, chance depends on seed and step alone, precision leaves no trace."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.training.synthetic_inputs import LABELS, Features
from training.config import TrainingConfig, TrainingError
from training.loop import fit
from training.optimization import ParameterGroup, learning_rate_factor
from training.stepper import Stepper, draw_seed

if TYPE_CHECKING:
    from memeguard.bundle import Bundle
    from memeguard.classifier import FusionHead

SKEWED = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0])


@pytest.fixture
def head(small_bundle: Bundle) -> FusionHead:
    return copy.deepcopy(small_bundle.classifier.head).train()


def without_dropout(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


def make_stepper(head: nn.Module, labels: np.ndarray = LABELS, num_steps: int = 10, **settings: Any) -> Stepper:
    config = TrainingConfig(**{"learning_rate": 0.1, "batch_size": 16, "device": "cpu", **settings})
    return Stepper(head, [ParameterGroup(list(head.parameters()), config.learning_rate)], labels, config, num_steps)


def make_step(stepper: Stepper, number: int, batch: Tensor, inputs: Features) -> float:
    return stepper.step(number, batch, inputs.batches(stepper.parts(batch)))


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("num_parts", [2, 3, 5, 13])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_batch_in_parts_moves_the_weights_as_a_whole_one(head: FusionHead, num_parts: int, optimizer: str) -> None:
    """Thirteen memes, so that parts are uneven; labels too."""
    results = []
    for parts in (1, num_parts):
        network = without_dropout(copy.deepcopy(head))
        stepper = make_stepper(network, SKEWED, accumulation_steps=parts, optimizer=optimizer, learning_rate=0.01)
        inputs = Features(SKEWED)
        losses = [make_step(stepper, number, torch.arange(13), inputs) for number in range(3)]
        assert len(inputs.asked) == 3 * parts
        results.append((losses, weights_of(network)))
    (losses, whole), (losses_in_parts, in_parts) = results
    assert losses_in_parts == pytest.approx(losses, rel=1e-5)
    for name, tensor in whole.items():
        # Adam divides by gradients that may be as small as their rounding; it moves a weight by 0.01 a step.
        torch.testing.assert_close(in_parts[name], tensor, rtol=0, atol=2e-6 if optimizer == "sgd" else 2e-4)
        assert not torch.equal(tensor, head.state_dict()[name])


def test_a_part_is_never_empty(head: FusionHead) -> None:
    stepper = make_stepper(head, accumulation_steps=4)
    sizes = [[len(part) for part in stepper.parts(torch.arange(num))] for num in (1, 3, 4, 10)]
    assert sizes == [[1], [1, 1, 1], [1, 1, 1, 1], [3, 3, 2, 2]]
    assert torch.cat(stepper.parts(torch.arange(10))).tolist() == list(range(10))


def test_the_loss_is_the_mean_of_the_weighted_cross_entropy(head: FusionHead) -> None:
    network, inputs = without_dropout(head), Features(SKEWED)
    logits = network(inputs.image, inputs.text).detach()
    signed = torch.where(torch.from_numpy(SKEWED) == 1, -logits, logits)
    weights = torch.from_numpy(np.where(SKEWED == 1, 9 / 4, 1.0))
    expected = float((weights * torch.log1p(signed.double().exp())).mean())
    stepper = make_stepper(network, SKEWED, accumulation_steps=5)
    assert make_step(stepper, 0, torch.arange(13), inputs) == pytest.approx(expected, rel=1e-5)


def test_each_groups_learning_rate_follows_the_schedule(head: FusionHead) -> None:
    fast, slow = list(head.classifier.parameters()), list(head.image_projection.parameters())
    head.text_projection.requires_grad_(requires_grad=False)
    config = TrainingConfig(optimizer="sgd", weight_decay=0.0, learning_rate=0.5, device="cpu")
    stepper = Stepper(head, [ParameterGroup(fast, 0.5), ParameterGroup(slow, 0.125)], LABELS, config, 30)
    for number in (0, 2, 3, 29):
        before = [weight.detach().clone() for weight in (fast[0], slow[0])]
        make_step(stepper, number, torch.arange(16), Features())
        for weight, old, rate in zip((fast[0], slow[0]), before, (0.5, 0.125), strict=True):
            expected = old - rate * learning_rate_factor(number, 30) * weight.grad
            torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=1e-7)
            assert weight.grad.abs().max() > 1e-4


def test_dropout_differs_from_step_to_step_and_not_from_run_to_run(head: FusionHead) -> None:
    """At this learning rate no weight moves."""

    def losses(seed: int) -> list[float]:
        torch.rand(seed + 1)  # what happened before does not matter
        stepper = make_stepper(copy.deepcopy(head), learning_rate=1e-30, seed=seed)
        return [make_step(stepper, number, torch.arange(16), Features()) for number in range(4)]

    first = losses(5)
    assert len(set(first)) == 4
    assert losses(5) == first
    assert not set(losses(6)) & set(first)


def test_parts_of_a_batch_drop_out_differently(head: FusionHead) -> None:
    logits: list[Tensor] = []
    head.register_forward_hook(lambda *parts: logits.append(parts[-1].detach()))
    stepper = make_stepper(head, accumulation_steps=2)
    make_step(stepper, 0, torch.tensor([7, 7]), Features())
    assert not torch.equal(logits[0], logits[1])


def test_a_loss_that_is_not_finite_moves_nothing(head: FusionHead) -> None:
    stepper, inputs = make_stepper(head), Features()
    make_step(stepper, 0, torch.arange(16), inputs)
    weights, state = weights_of(head), {name: tensor.clone() for name, tensor in stepper.state().items()}
    inputs.image[3] = float("nan")
    with pytest.raises(TrainingError, match="the loss is nan"):
        make_step(stepper, 1, torch.arange(16), inputs)
    assert all(torch.equal(weights_of(head)[name], tensor) for name, tensor in weights.items())
    assert all(torch.equal(stepper.state()[name], tensor) for name, tensor in state.items())


class SteepRoot(nn.Module):
    """A network whose loss is finite and whose gradient is not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, image_BD: Tensor, _: Tensor) -> Tensor:
        return self.weight.sqrt().expand(len(image_BD))


def test_gradients_that_are_not_finite_move_nothing() -> None:
    """Otherwise a checkpoint might keep weights that are not numbers as the last good state."""
    network = SteepRoot()
    with pytest.raises(TrainingError, match=r"^the norm of the gradient is (nan|inf)$"):
        make_step(make_stepper(network), 0, torch.arange(15), Features())
    assert network.weight.item() == 0.0


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_a_loaded_state_continues_as_the_stepper_it_was_taken_from(head: FusionHead, optimizer: str) -> None:
    stepper = make_stepper(head, optimizer=optimizer)
    for number in range(3):
        make_step(stepper, number, torch.arange(16), Features())
    other_head = copy.deepcopy(head)
    with torch.no_grad():
        for weight in other_head.parameters():
            weight.zero_()
    other = make_stepper(other_head, optimizer=optimizer)
    other.load({name: tensor.clone() for name, tensor in stepper.state().items()})
    for one in (stepper, other):
        for number in range(3, 6):
            make_step(one, number, torch.arange(16), Features())
    expected = weights_of(head)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights_of(other_head).items())


def test_mixed_precision_leaves_an_ordinary_network_behind(small_bundle: Bundle) -> None:
    heads, dtypes = {}, {}
    for precision in ("fp32", "bf16"):
        classifier = copy.deepcopy(small_bundle.classifier)
        seen: set[torch.dtype] = set()
        classifier.head.image_projection.register_forward_hook(lambda *parts, seen=seen: seen.add(parts[-1].dtype))
        config = TrainingConfig(num_epochs=2, batch_size=8, precision=precision, device="cpu")
        groups = [ParameterGroup(list(classifier.head.parameters()), 1e-2)]
        both = {"train": Features(), "validation": Features()}
        fit(classifier, both, {"train": LABELS, "validation": LABELS}, config, groups)
        heads[precision], dtypes[precision] = classifier.head, set(seen)
        seen.clear()
        assert classifier.head(Features().image, Features().text).dtype is torch.float32
        assert seen == {torch.float32}  # nothing is cast any more
        assert not hasattr(classifier.head.forward, "__wrapped__")
        assert "_original_forward" not in vars(classifier.head)
        assert {weight.dtype for weight in classifier.parameters()} == {torch.float32}
    assert dtypes == {"fp32": {torch.float32}, "bf16": {torch.bfloat16}}
    assert not torch.equal(heads["bf16"].image_projection.weight, heads["fp32"].image_projection.weight)


def test_a_network_trained_in_mixed_precision_can_be_copied_and_trained_in_full(head: FusionHead) -> None:
    stepper = make_stepper(head, precision="bf16")
    make_step(stepper, 0, torch.arange(16), Features())
    stepper.release()
    other = copy.deepcopy(head)
    with torch.no_grad():
        other.classifier[-1].bias += 1.0
    inputs = Features()
    difference = other.eval()(inputs.image, inputs.text) - head.eval()(inputs.image, inputs.text)
    torch.testing.assert_close(difference, torch.ones(16))
    assert make_stepper(other, precision="fp32").accelerator.mixed_precision == "no"


def test_seeds_depend_on_every_number() -> None:
    numbers = [(seed, step, rank) for seed in (0, 1, 2**63 - 1) for step in (0, 1, 300) for rank in (0, 1)]
    assert len({draw_seed(*one) for one in numbers}) == len(numbers)
    assert draw_seed(3, 4, 1) == draw_seed(3, 4, 1)
    assert all(0 <= draw_seed(*one) < 2**64 for one in numbers)

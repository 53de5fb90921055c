"""Which weights learn and how fast, for every way of tuning; and that adapters leave an ordinary model behind."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from transformers import CLIPConfig

from memeguard.captions import collate_captions
from memeguard.classifier import CaptionTensors, MemeClassifier
from memeguard.config import HeadConfig, ImageConfig, ModelConfig, TextConfig
from training.config import TrainingConfig, TrainingError
from training.stepper import Stepper
from training.tuning import Tuning, choose_tune

if TYPE_CHECKING:
    from collections.abc import Iterator

LABELS = [1, 0, 1, 0]
PICTURE, TEXT = "clip.vision_model.", "clip.text_model."
HEAD = {f"head.{name}": 1e-2 for name in ("image_projection", "text_projection", "classifier")}
TOPS = {
    f"{PICTURE}post_layernorm": 1e-3,
    "clip.visual_projection": 1e-3,
    f"{TEXT}final_layer_norm": 1e-3,
    "clip.text_projection": 1e-3,
}
# Learning rates by the beginnings of names: 1e-2 for the head, 1e-3 for the backbone, half of it a block deeper.
RATES: dict[str, dict[str, float]] = {
    "head": HEAD,
    "lora": {
        **HEAD,
        **{
            f"{tower}encoder.layers.{block}.self_attn.{which}_proj.lora_{side}": 1e-3
            for tower, num in ((PICTURE, 3), (TEXT, 2))
            for block in range(num)
            for which in "qkv"
            for side in "AB"
        },
    },
    "last-blocks": {
        **HEAD,
        **TOPS,
        f"{PICTURE}encoder.layers.2.": 1e-3,
        f"{PICTURE}encoder.layers.1.": 5e-4,
        f"{TEXT}encoder.layers.1.": 1e-3,
        f"{TEXT}encoder.layers.0.": 5e-4,
    },
    "full": {
        **HEAD,
        **TOPS,
        f"{PICTURE}encoder.layers.2.": 1e-3,
        f"{PICTURE}encoder.layers.1.": 5e-4,
        f"{PICTURE}encoder.layers.0.": 2.5e-4,
        f"{PICTURE}embeddings": 1.25e-4,
        f"{PICTURE}pre_layrnorm": 1.25e-4,
        f"{TEXT}encoder.layers.1.": 1e-3,
        f"{TEXT}encoder.layers.0.": 5e-4,
        f"{TEXT}embeddings": 2.5e-4,
    },
    "scratch": {**HEAD, PICTURE: 1e-2, TEXT: 1e-2, "clip.visual_projection": 1e-2, "clip.text_projection": 1e-2},
}


def make_classifier() -> MemeClassifier:
    """Three blocks for pictures, two for captions."""
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    clip = CLIPConfig(
        text_config={**tower, "num_hidden_layers": 2, "vocab_size": 40, "bos_token_id": 0, "eos_token_id": 1},
        vision_config={**tower, "num_hidden_layers": 3, "image_size": 16, "patch_size": 8},
        projection_dim=16,
    )
    return MemeClassifier(
        ModelConfig(
            backbone="small",
            clip=clip.to_dict(),
            image=ImageConfig(size=16),
            text=TextConfig(context_length=77, start_id=0, end_id=1),
            head=HeadConfig(projection_dim=8, hidden_dim=8),
        )
    )


@pytest.fixture
def classifier() -> Iterator[MemeClassifier]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield make_classifier()


def make_config(tune: str, **settings: Any) -> TrainingConfig:
    rates = {"learning_rate": 1e-2, "backbone_learning_rate": 1e-3, "layer_decay": 0.5}
    named = {"tune": None if tune == "scratch" else tune, "num_blocks": 2}
    return TrainingConfig(**{**named, **rates, "batch_size": 4, "device": "cpu", **settings})


def make_memes() -> tuple[Tensor, CaptionTensors]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(4, 3, 16, 16, generator=generator)
    captions = [[[0, *torch.randint(2, 40, (length,), generator=generator).tolist(), 1]] for length in (3, 5, 2, 70)]
    return pixels, CaptionTensors.of(collate_captions(captions))


def learn(classifier: MemeClassifier, tuning: Tuning, config: TrainingConfig, num_steps: int = 2) -> None:
    stepper = Stepper(classifier, tuning.groups, torch.tensor(LABELS).numpy(), config, 10)
    for number in range(num_steps):
        stepper.step(number, torch.arange(4), iter([make_memes()]))
    stepper.release()


def expected_rate(name: str, tune: str) -> float | None:
    return next((rate for start, rate in RATES[tune].items() if name.startswith(start)), None)


@pytest.mark.parametrize("tune", RATES)
def test_every_weight_that_learns_is_in_one_group_with_its_rate(classifier: MemeClassifier, tune: str) -> None:
    tuning = Tuning(classifier, make_config(tune), pretrained=tune != "scratch")
    assert tuning.tune == ("full" if tune == "scratch" else tune)
    rates: dict[int, list[float]] = {}
    for group in tuning.groups:
        for weight in group.parameters:
            rates.setdefault(id(weight), []).append(group.learning_rate)
    for name, weight in classifier.named_parameters():
        rate = expected_rate(name, tune)
        assert weight.requires_grad == (rate is not None), name
        assert rates.pop(id(weight), []) == ([] if rate is None else [pytest.approx(rate)]), name
    assert not rates  # nothing else is in a group
    assert not classifier.clip.logit_scale.requires_grad
    assert list(map(id, tuning.groups[0].parameters)) == list(map(id, classifier.head.parameters()))


@pytest.mark.parametrize("tune", RATES)
def test_what_learns_changes_and_nothing_else(classifier: MemeClassifier, tune: str) -> None:
    config = make_config(tune)
    tuning = Tuning(classifier, config, pretrained=tune != "scratch")
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    learn(classifier, tuning, config)
    for name, tensor in classifier.state_dict().items():
        assert torch.equal(tensor, before[name]) == (expected_rate(name, tune) is None), name


def test_a_higher_layer_decay_moves_lower_blocks_more(classifier: MemeClassifier) -> None:
    """Adam moves a weight by about its learning rate."""
    moves = []
    for decay in (0.1, 1.0):
        other = copy.deepcopy(classifier)
        config = make_config("full", layer_decay=decay, weight_decay=0.0)
        learn(other, Tuning(other, config, pretrained=True), config, num_steps=1)
        names = [f"{PICTURE}encoder.layers.{block}.mlp.fc1.weight" for block in range(3)]
        before, after = classifier.state_dict(), other.state_dict()
        moves.append([float((after[name] - before[name]).abs().max()) for name in names])
    assert moves[0] == pytest.approx([1e-5, 1e-4, 1e-3], rel=0.1)
    assert moves[1] == pytest.approx([1e-3] * 3, rel=0.1)


def test_merged_adapters_give_the_same_answers_and_an_ordinary_classifier(classifier: MemeClassifier) -> None:
    original = copy.deepcopy(classifier)
    config = make_config("lora", backbone_learning_rate=1e-2)
    tuning = Tuning(classifier, config, pretrained=True)
    learn(classifier, tuning, config, num_steps=5)
    memes = make_memes()
    with torch.no_grad():
        adapted = classifier.eval()(*memes)
        tuning.merge()
        merged = classifier(*memes)
        torch.testing.assert_close(merged, adapted, rtol=0, atol=1e-5)
        fresh = make_classifier().eval()
        fresh.load_state_dict(classifier.state_dict(), strict=True)
        assert torch.equal(fresh(*memes), merged)
    before, after = original.clip.state_dict(), classifier.clip.state_dict()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight"))}
    assert not any("lora" in type(module).__module__ for module in classifier.modules())
    original.head.load_state_dict(classifier.head.state_dict())
    with torch.no_grad():  # the adapters matter
        assert (original.eval()(*memes) - merged).abs().max() > 1e-3


@pytest.mark.parametrize("tune", ["head", "last-blocks", "full"])
def test_merging_without_adapters_changes_nothing(classifier: MemeClassifier, tune: str) -> None:
    before = copy.deepcopy(classifier.state_dict())
    Tuning(classifier, make_config(tune), pretrained=True).merge()
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items())


def test_the_adapters_are_of_the_rank_asked_for(classifier: MemeClassifier) -> None:
    tuning = Tuning(classifier, make_config("lora", lora_rank=3, lora_dropout=0.4), pretrained=True)
    assert {min(weight.shape) for weight in tuning.groups[1].parameters} == {3}
    dropouts = [part for name, part in classifier.named_modules() if "lora_dropout." in name]
    assert [part.p for part in dropouts if isinstance(part, nn.Dropout)] == [0.4] * 15


@pytest.mark.parametrize("tune", ["head", "lora", "last-blocks"])
def test_a_backbone_from_scratch_learns_in_full_or_not_at_all(classifier: MemeClassifier, tune: str) -> None:
    with pytest.raises(TrainingError, match=f"tune '{tune}' needs a pretrained backbone; .* is trained in full"):
        Tuning(classifier, make_config(tune), pretrained=False)


def test_the_default_suits_the_backbone() -> None:
    assert choose_tune(TrainingConfig(), pretrained=True) == "head"
    assert choose_tune(TrainingConfig(), pretrained=False) == "full"


@pytest.mark.parametrize(("num_blocks", "has"), [(3, 2), (4, 3), (9, 3)])
def test_more_blocks_than_a_tower_has_are_refused(classifier: MemeClassifier, num_blocks: int, has: int) -> None:
    with pytest.raises(TrainingError, match=f"num_blocks is {num_blocks}; a tower of this backbone has {has}"):
        Tuning(classifier, make_config("last-blocks", num_blocks=num_blocks), pretrained=True)


@pytest.mark.parametrize(("tune", "rate"), [("lora", 2e-4), ("last-blocks", 1e-5), ("full", 1e-5)])
def test_a_backbones_rate_suits_its_tuning(classifier: MemeClassifier, tune: str, rate: float) -> None:
    config = make_config(tune, backbone_learning_rate=None)
    rates = [group.learning_rate for group in Tuning(classifier, config, pretrained=True).groups]
    assert rates[:2] == [1e-2, rate]
    assert max(rates[1:]) == rate

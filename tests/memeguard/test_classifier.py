"""The towers compute what transformers' CLIP does, batches do not mix memes, and the head learns interactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig

from memeguard.captions import collate_captions
from memeguard.classifier import CaptionTensors, FusionHead, MemeClassifier
from memeguard.config import HeadConfig, ImageConfig, ModelConfig, TextConfig

if TYPE_CHECKING:
    from collections.abc import Callable

START, END = 38, 39
CAPTIONS = [
    [[START, 7, 8, 9, END]],
    [[START, END]],
    [[START, *range(10, 24), END], [START, *range(24, 37), END], [START, 5, END]],
    [[START, 7, END]],
]


def make_classifier(**text_config: Any) -> MemeClassifier:
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
    clip = CLIPConfig(
        text_config={**tower, "vocab_size": 40, "max_position_embeddings": 16, "bos_token_id": START, **text_config},
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    torch.manual_seed(0)
    config = ModelConfig(
        backbone="random",
        clip=clip.to_dict(),
        image=ImageConfig(size=32),
        text=TextConfig(context_length=16, start_id=START, end_id=END),
    )
    return MemeClassifier(config).eval()


@pytest.fixture(scope="module")
def classifier() -> MemeClassifier:
    return make_classifier(eos_token_id=END)


def tensors(captions: list[list[list[int]]]) -> CaptionTensors:
    return CaptionTensors.of(collate_captions(captions))


@pytest.fixture(scope="module")
def pixels_BCHW() -> Tensor:  # noqa: N802 - shape suffixes, as in classifier.py
    return torch.randn(len(CAPTIONS), 3, 32, 32, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_picture_features_are_those_of_transformers(classifier: MemeClassifier, pixels_BCHW: Tensor) -> None:
    expected = functional.normalize(classifier.clip.get_image_features(pixel_values=pixels_BCHW).pooler_output, dim=-1)
    torch.testing.assert_close(classifier.encode_images(pixels_BCHW), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("chunk", [[START, END], [START, 7, 8, 9, END], [START, *range(10, 24), END]])
@torch.no_grad()
def test_caption_features_are_those_of_transformers(classifier: MemeClassifier, chunk: list[int]) -> None:
    output = classifier.clip.get_text_features(input_ids=torch.tensor([chunk]))
    expected = functional.normalize(output.pooler_output, dim=-1)
    actual = classifier.encode_captions(tensors([[chunk]]))
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_caption_features_do_not_depend_on_how_the_configuration_names_the_end_token() -> None:
    """OpenAI's configurations say ``eos_token_id: 2`` although the end token is the highest id."""
    old, new = make_classifier(eos_token_id=2), make_classifier(eos_token_id=END)
    chunk = [START, 7, 8, END]
    assert old.clip.config.text_config.eos_token_id == 2
    captions = tensors([[chunk]])
    torch.testing.assert_close(old.encode_captions(captions), new.encode_captions(captions), rtol=0, atol=0)
    expected = functional.normalize(old.clip.get_text_features(input_ids=torch.tensor([chunk])).pooler_output, dim=-1)
    torch.testing.assert_close(old.encode_captions(captions), expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_long_caption_is_the_mean_of_its_chunks(classifier: MemeClassifier) -> None:
    chunks = CAPTIONS[2]
    parts = torch.cat([classifier.encode_captions(tensors([[chunk]])) for chunk in chunks])
    whole = classifier.encode_captions(tensors([chunks]))
    torch.testing.assert_close(whole[0], parts.mean(0), rtol=0, atol=1e-6)
    assert (parts[0] - parts[2]).abs().max() > 0.01  # or else any pooling would do


@torch.no_grad()
def test_a_memes_logit_does_not_depend_on_its_company(classifier: MemeClassifier, pixels_BCHW: Tensor) -> None:
    together = classifier(pixels_BCHW, tensors(CAPTIONS))
    alone = [classifier(pixels_BCHW[index : index + 1], tensors([caption])) for index, caption in enumerate(CAPTIONS)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)
    assert together.std() > 1e-3


def test_chunks_are_padded_on_the_right_and_remember_their_meme() -> None:
    batch = collate_captions([[[1, 5, 6, 2], [1, 7, 2]], [[1, 2]]])
    assert batch.tokens_NT.tolist() == [[1, 5, 6, 2], [1, 7, 2, 0], [1, 2, 0, 0]]
    assert batch.last_N.tolist() == [3, 2, 1]
    assert batch.meme_N.tolist() == [0, 0, 1]
    assert batch.num_memes == 2
    assert {part.dtype for part in batch[:3]} == {np.dtype(np.int64)}


def test_a_caption_batch_moves_as_a_whole() -> None:
    moved = CaptionTensors.of(collate_captions([[[1, 2]]]), "meta")
    assert {part.device.type for part in moved[:3]} == {"meta"}


@torch.no_grad()
@pytest.mark.parametrize(
    ("modalities", "sees"), [("both", (True, True)), ("image", (True, False)), ("text", (False, True))]
)
def test_a_head_sees_its_modalities_and_no_other(modalities: str, sees: tuple[bool, bool]) -> None:
    torch.manual_seed(0)
    head = FusionHead(8, HeadConfig(modalities=modalities, projection_dim=8, hidden_dim=8)).eval()
    image, text, other = torch.randn(3, 4, 8)
    changed = (head(other, text) != head(image, text)).all(), (head(image, other) != head(image, text)).all()
    assert tuple(map(bool, changed)) == sees


@torch.no_grad()
def test_a_head_that_sees_both_sees_their_product() -> None:
    head = FusionHead(8, HeadConfig(projection_dim=4, hidden_dim=8)).eval()
    seen: list[Tensor] = []
    head.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    head(*torch.randn(2, 3, 8))
    product_BP, image_BP, text_BP = seen[0].chunk(3, dim=-1)
    torch.testing.assert_close(product_BP, image_BP * text_BP)
    for projected_BP in (image_BP, text_BP):  # entries of about 1, or else the product would vanish
        torch.testing.assert_close(projected_BP.square().mean(-1), torch.ones(3))


def train_xor(model: Callable[[Tensor, Tensor], Tensor], parameters: list[nn.Parameter]) -> float:
    """Accuracy after learning to tell whether picture and words, each +1 or -1 along one direction, disagree."""
    generator = torch.Generator().manual_seed(0)
    image_sign, text_sign = torch.randint(0, 2, (2, 256), generator=generator) * 2 - 1
    directions = functional.normalize(torch.randn(2, 16, generator=generator), dim=-1)
    image_BD, text_BD = (
        functional.normalize(sign[:, None] * direction + 0.05 * torch.randn(256, 16, generator=generator), dim=-1)
        for sign, direction in zip((image_sign, text_sign), directions, strict=True)
    )
    target = (image_sign != text_sign).float()
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(model(image_BD, text_BD), target).backward()
        optimizer.step()
    return float(((model(image_BD, text_BD) > 0) == target.bool()).float().mean())


def test_the_head_learns_what_only_picture_and_words_together_say() -> None:
    torch.manual_seed(0)
    head = FusionHead(16, HeadConfig(projection_dim=16, hidden_dim=16, dropout=(0.0, 0.0, 0.0)))
    linear = nn.Linear(32, 1)
    assert train_xor(head, list(head.parameters())) > 0.95
    assert train_xor(lambda *pair: linear(torch.cat(pair, dim=-1)).squeeze(-1), list(linear.parameters())) < 0.8


def test_dropout_acts_in_training_alone() -> None:
    torch.manual_seed(0)
    head = FusionHead(8, HeadConfig(projection_dim=8, hidden_dim=8))
    image, text = torch.randn(2, 4, 8)
    assert not torch.equal(head(image, text), head(image, text))
    head.eval()
    assert torch.equal(head(image, text), head(image, text))

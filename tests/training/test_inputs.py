"""Features computed once give what pixels and tokens give; captions that are too long are all named beforehand."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import torch

from memeguard.predictor import Predictor
from training.inputs import FeatureInputs, PixelInputs, check_captions, prepare_memes
from training.memes import DataError, Label, Meme

if TYPE_CHECKING:
    from pathlib import Path

    from memeguard.bundle import Bundle


@pytest.fixture(scope="module")
def predictor(small_bundle: Bundle) -> Predictor:
    return Predictor(small_bundle)


@pytest.fixture(scope="module")
def memes(demo_splits: dict[str, list[Meme]]) -> list[Meme]:
    """More than one batch of features."""
    assert len(demo_splits["train"]) == 40
    return demo_splits["train"]


@torch.no_grad()
def test_features_computed_once_give_the_logits_of_the_whole_network(predictor: Predictor, memes: list[Meme]) -> None:
    pixels, features = PixelInputs(predictor, memes, "pixels"), FeatureInputs(predictor, memes, "features")
    assert len(pixels) == len(features) == 40
    rows = torch.tensor([39, 0, 31, 32, 33])
    expected = pixels.logits(predictor.classifier, rows)
    torch.testing.assert_close(features.logits(predictor.classifier, rows), expected, rtol=0, atol=1e-5)
    assert expected.std() > 1e-4


@torch.no_grad()
def test_logits_are_those_of_the_predictor_and_in_order(predictor: Predictor, memes: list[Meme]) -> None:
    inputs = PixelInputs(predictor, memes, "pixels")
    for row in (3, 17, 39):
        (expected,) = predictor.logits([predictor.prepare(memes[row].image_path.read_bytes(), memes[row].text)])
        assert inputs.logits(predictor.classifier, torch.tensor([row])).item() == pytest.approx(expected, abs=1e-5)


def test_features_need_no_gradients_of_the_towers(small_bundle: Bundle, memes: list[Meme]) -> None:
    predictor = Predictor(small_bundle)
    logits = FeatureInputs(predictor, memes[:4], "features").logits(predictor.classifier, torch.arange(4))
    gradients = torch.autograd.grad(logits.sum(), list(predictor.classifier.parameters()), allow_unused=True)
    names = [name for name, _ in predictor.classifier.named_parameters()]
    used = {name.split(".")[0] for name, gradient in zip(names, gradients, strict=True) if gradient is not None}
    assert used == {"head"}


def test_many_memes_stay_in_order(predictor: Predictor, memes: list[Meme]) -> None:
    """They are decoded in threads, batch by batch."""
    many = [memes[index % 8] for index in range(260)]
    first = list(prepare_memes(predictor, memes[:8], "first"))
    for index, meme in enumerate(prepare_memes(predictor, many, "many")):
        assert meme.chunks == first[index % 8].chunks
        assert (meme.pixels_CHW == first[index % 8].pixels_CHW).all()
    assert index == 259


def test_every_caption_that_is_too_long_is_named(predictor: Predictor, tmp_path: Path) -> None:
    captions = ["fine", "zq " * 2000, "", "zqx " * 3000]
    memes = [
        Meme(image_path=tmp_path / "a.png", text=text, label=Label.OFFENSIVE, file="Training_meme_dataset.csv", row=row)
        for row, text in enumerate(captions, 2)
    ]
    with pytest.raises(DataError) as caught:
        check_captions(predictor, memes)
    wheres = [offender.split(":")[0] for offender in caught.value.offenders]
    assert wheres == [
        "Training_meme_dataset.csv, row 3",
        "Training_meme_dataset.csv, row 5",
    ]
    assert all("the limit is 2400" in offender for offender in caught.value.offenders)


def test_captions_that_fit_pass(predictor: Predictor, demo_splits: dict[str, list[Meme]]) -> None:
    check_captions(predictor, itertools.chain(*demo_splits.values()))

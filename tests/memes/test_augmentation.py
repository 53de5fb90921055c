"""A meme is learnt from a little otherwise each time, in the same way for the same seed; weights may be rounded."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cli.main import main
from memeguard.bundle import load_bundle, save_bundle
from memeguard.bundle_files import read_report
from memeguard.captions import CaptionTokenizer
from memeguard.config import TextConfig
from memeguard.torch_runtime import TorchPredictor
from memes.augmentation import MID_GREY, augment, blank_picture, vary_caption
from tests.training.synthetic_inputs import Interrupted, Interruption
from training.checkpoint import Checkpoint
from training.config import TrainingConfig, TrainingError
from training.experiment import Experiment
from training.inputs import FeatureInputs, PixelInputs, SubsetInputs
from training.trainer import train

if TYPE_CHECKING:
    from pathlib import Path

    from memeguard.bundle import Bundle
    from memeguard.predictor import PreparedMeme
    from memes.meme import Meme
    from training.experiment import Fitted
    from training.inputs import Inputs

CAPTION = "this is the exact opposite of your whole family and of everybody else I know"
EMPTY = [[0, 1]]
QUICK = TrainingConfig(tune="full", num_epochs=3, batch_size=8, device="cpu")


@pytest.fixture(scope="module")
def captions(small_bundle: Bundle) -> CaptionTokenizer:
    return CaptionTokenizer(small_bundle.tokenizer, small_bundle.classifier.config.text)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Noise; nobody may change it."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 24, 24), dtype=np.uint8)
    pixels.flags.writeable = False
    return pixels


@pytest.fixture(scope="module")
def drawn(pixels: np.ndarray, captions: CaptionTokenizer) -> list[PreparedMeme]:
    """One meme, two thousand times."""
    return [augment(pixels, CAPTION, captions, random.Random(seed)) for seed in range(2000)]


def is_blank(meme: PreparedMeme) -> bool:
    return bool((meme.pixels_CHW == MID_GREY).all())


def test_shape_and_kind_stay_whatever_is_drawn(drawn: list[PreparedMeme], captions: CaptionTokenizer) -> None:
    for meme in drawn:
        assert (meme.pixels_CHW.shape, meme.pixels_CHW.dtype) == ((3, 24, 24), np.uint8)
        assert meme.pixels_CHW.flags.c_contiguous
    assert captions.encode("") == EMPTY


def test_the_picture_that_was_given_stays_as_it_was(captions: CaptionTokenizer) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 24, 24), dtype=np.uint8)
    before = pixels.copy()
    for seed in range(50):
        meme = augment(pixels, CAPTION, captions, random.Random(seed))
        assert not np.shares_memory(meme.pixels_CHW, pixels)
        meme.pixels_CHW[:] = 0
    assert np.array_equal(pixels, before)


def test_the_same_seed_gives_the_same_meme(
    pixels: np.ndarray, captions: CaptionTokenizer, drawn: list[PreparedMeme]
) -> None:
    for seed in range(50):
        again = augment(pixels, CAPTION, captions, random.Random(seed))
        assert np.array_equal(again.pixels_CHW, drawn[seed].pixels_CHW)
        assert again.chunks == drawn[seed].chunks
    assert len({(meme.pixels_CHW.tobytes(), str(meme.chunks)) for meme in drawn}) > 0.95 * len(drawn)


def test_a_tenth_lacks_its_picture_another_its_caption_and_none_both(drawn: list[PreparedMeme]) -> None:
    blank = np.array([is_blank(meme) for meme in drawn])
    silent = np.array([meme.chunks == EMPTY for meme in drawn])
    assert blank.mean() == pytest.approx(0.1, abs=0.02)
    assert silent.mean() == pytest.approx(0.1, abs=0.02)
    assert not (blank & silent).any()


@pytest.mark.parametrize("caption", ["cat", "a cat"])
def test_a_meme_of_few_words_keeps_one_of_its_halves(
    pixels: np.ndarray, captions: CaptionTokenizer, caption: str
) -> None:
    for seed in range(2000):
        meme = augment(pixels, caption, captions, random.Random(seed))
        assert not (is_blank(meme) and meme.chunks == EMPTY), seed


def test_a_blank_picture_is_grey() -> None:
    blank = blank_picture(5)
    assert (blank.shape, blank.dtype, set(blank.ravel())) == ((3, 5, 5), np.uint8, {MID_GREY})


def test_pictures_are_lighter_and_darker_but_much_the_same(drawn: list[PreparedMeme], pixels: np.ndarray) -> None:
    means = np.array([meme.pixels_CHW.mean() for meme in drawn if not is_blank(meme)])
    assert means.mean() == pytest.approx(pixels.mean(), abs=3)
    assert 95 < means.min() < 112
    assert 144 < means.max() < 162


def test_nothing_is_mirrored_or_turned(captions: CaptionTokenizer) -> None:
    """Red grows to the right, green downwards, each from 64 to 190; a crop has three quarters of that at least."""
    rows, columns = np.mgrid[0:64, 0:64]
    pixels = np.stack([64 + 2 * columns, 64 + 2 * rows, np.full_like(rows, 128)]).astype(np.uint8)
    slopes = []
    for seed in range(300):
        meme = augment(pixels, CAPTION, captions, random.Random(seed))
        if not is_blank(meme):
            red, green, _ = meme.pixels_CHW.astype(np.float32)
            slopes.append([red[:, -1].mean() - red[:, 0].mean(), green[-1].mean() - green[0].mean()])
    assert np.min(slopes) > 126 * 0.75 * 0.8 - 4
    assert np.max(slopes) < 126 * 1.2 + 4
    assert np.ptp(slopes) > 40


def test_words_are_left_out_and_misread_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    words = CAPTION.split()
    variants = [vary_caption(CAPTION, random.Random(seed)).split() for seed in range(1000)]
    assert sum(set(variant) <= set(words) for variant in variants) > 700  # not misread
    monkeypatch.setattr("memes.augmentation._MISREAD", 0.0)
    variants = [vary_caption(CAPTION, random.Random(seed)).split() for seed in range(1000)]
    num_kept = [len(variant) for variant in variants]
    assert np.mean(num_kept) / len(words) == pytest.approx(0.9, abs=0.01)
    for variant in variants:
        rest = iter(words)
        assert all(word in rest for word in variant)


def test_an_empty_caption_stays_empty() -> None:
    assert {vary_caption(text, random.Random(seed)) for text in ("", " \n") for seed in range(50)} <= {"", " \n"}


def test_a_caption_that_fills_the_room_still_fits(pixels: np.ndarray, small_bundle: Bundle) -> None:
    """However many tokens its words need once they are misread."""
    config = TextConfig(context_length=12, start_id=0, end_id=1, max_chunks=2)
    captions = CaptionTokenizer(small_bundle.tokenizer, config)
    caption = "this is the exact opposite of your whole family of your family this is the opposite of your whole family"
    assert captions.count_tokens(caption) == 20 + 2
    for seed in range(500):
        chunks = augment(pixels, caption, captions, random.Random(seed)).chunks
        assert len(chunks) <= 2


@pytest.fixture(scope="module")
def inputs(small_bundle: Bundle, demo_splits: dict[str, list[Meme]]) -> PixelInputs:
    return PixelInputs(TorchPredictor(small_bundle), demo_splits["train"])


def batches_of(inputs: Inputs, *rows: list[int]) -> list[tuple[Any, ...]]:
    return list(inputs.batches(map(torch.tensor, rows)))


def is_same(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> bool:
    return all(
        torch.equal(pixels, others) and torch.equal(captions.tokens_NT, words.tokens_NT)
        for (pixels, captions), (others, words) in zip(one, other, strict=True)
    )


def test_inputs_change_with_the_seed_and_not_with_the_asking(inputs: PixelInputs) -> None:
    rows = [[0, 1, 2, 3], [4, 5, 6, 7]]
    plain = batches_of(inputs, *rows)
    first = batches_of(inputs.augmented(7), *rows)
    assert is_same(batches_of(inputs.augmented(7), *rows), first)
    assert is_same(batches_of(inputs.augmented(8).augmented(7), *rows), first)
    assert not is_same(batches_of(inputs.augmented(8), *rows), first)
    assert not is_same(first, plain)
    assert is_same(batches_of(inputs, *rows), plain)  # neither they nor what is kept of them changes
    assert len(inputs.augmented(7)) == len(inputs)


def test_a_meme_changes_by_its_row_whatever_is_asked_with_it(inputs: PixelInputs) -> None:
    changed = inputs.augmented(7)
    ((together, _),) = batches_of(changed, [3, 0, 9])
    alone = [pixels for pixels, _ in batches_of(changed, [3], [0], [9])]
    assert torch.equal(together, torch.cat(alone))


def test_a_meme_posted_twice_changes_in_two_ways(small_bundle: Bundle, demo_splits: dict[str, list[Meme]]) -> None:
    inputs = PixelInputs(TorchPredictor(small_bundle), [demo_splits["train"][0]] * 8)
    ((pixels, _),) = batches_of(inputs.augmented(7), list(range(8)))
    assert len({meme.numpy().tobytes() for meme in pixels}) > 4


def test_a_subset_changes_as_the_whole_does(inputs: PixelInputs) -> None:
    subset = SubsetInputs(inputs, torch.tensor([9, 2, 17]))
    changed = subset.augmented(7)
    assert len(changed) == 3
    assert is_same(batches_of(changed, [0, 2], [1]), batches_of(inputs.augmented(7), [9, 17], [2]))
    assert is_same(batches_of(subset, [0, 2]), batches_of(inputs, [9, 17]))


def test_features_cannot_change(small_bundle: Bundle, demo_splits: dict[str, list[Meme]]) -> None:
    features = FeatureInputs(TorchPredictor(small_bundle), demo_splits["train"][:2], "features")
    with pytest.raises(TypeError, match="features cannot be augmented"):
        features.augmented(0)


@pytest.fixture(scope="module")
def splits(demo_splits: dict[str, list[Meme]]) -> dict[str, list[Meme]]:
    return {"train": demo_splits["train"][:20], "validation": demo_splits["validation"][:8]}


@pytest.fixture(scope="module")
def tiny(splits: dict[str, list[Meme]]) -> Experiment:
    return Experiment(splits, "tiny", device="cpu")


@pytest.fixture(scope="module")
def augmented(tiny: Experiment) -> Fitted:
    return tiny.fit(dataclasses.replace(QUICK, augment=True))


def have_same_weights(one: Fitted, other: Fitted) -> bool:
    weights = other.classifier.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in one.classifier.state_dict().items())


def test_the_same_seed_trains_the_same_classifier(tiny: Experiment, augmented: Fitted) -> None:
    again = tiny.fit(dataclasses.replace(QUICK, augment=True))
    assert again.history == augmented.history
    assert have_same_weights(again, augmented)


def test_training_differs_from_that_on_memes_as_they_are(tiny: Experiment, augmented: Fitted) -> None:
    plain = tiny.fit(QUICK)
    losses = [[epoch["loss"] for epoch in fitted.history] for fitted in (plain, augmented)]
    assert all(one != other for one, other in zip(*losses, strict=True))
    assert not have_same_weights(plain, augmented)


def test_validation_sees_memes_as_they_are_and_each_epoch_others(
    tiny: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    change = PixelInputs.augmented

    def listen(self: PixelInputs, seed: int) -> Inputs:
        assert self is tiny.inputs["train"]
        seeds.append(seed)
        return change(self, seed)

    monkeypatch.setattr(PixelInputs, "augmented", listen)
    for seed in (0, 1):
        tiny.fit(dataclasses.replace(QUICK, augment=True, seed=seed))
    assert len(set(seeds)) == len(seeds) == 6


@pytest.mark.parametrize("num", [1, 5])
def test_a_training_that_was_stopped_ends_as_one_that_was_not(
    tiny: Experiment, augmented: Fitted, tmp_path: Path, num: int
) -> None:
    """After a batch of the first epoch, or two of the second."""
    config = dataclasses.replace(QUICK, augment=True)
    checkpoint = Checkpoint(path=tmp_path / "model.safetensors", settings={}, every_s=0.0)
    inputs = tiny.inputs
    tiny.inputs = {**inputs, "train": Interrupted(inputs["train"], num)}
    try:
        with pytest.raises(Interruption):
            tiny.fit(config, checkpoint=checkpoint)
    finally:
        tiny.inputs = inputs
    resumed = tiny.fit(config, checkpoint=checkpoint)
    assert resumed.history == augmented.history
    assert have_same_weights(resumed, augmented)


@pytest.mark.parametrize("tune", [None, "head"])
def test_a_head_alone_cannot_learn_from_changed_memes(tune: str | None) -> None:
    with pytest.raises(TrainingError, match=r"^augment needs towers that are trained: set tune to lora, last-blocks"):
        TrainingConfig(tune=tune, augment=True)


def test_long_captions_are_augmented_too(splits: dict[str, list[Meme]], clip_folder: Path) -> None:
    """One that fills the room, of words that need more tokens once they are misread."""
    words = "cat " * 2400
    memes = [dataclasses.replace(meme, text=words) for meme in splits["train"][:4]]
    experiment = Experiment({**splits, "train": [*memes, *splits["train"][4:8]]}, str(clip_folder), tune="full",
                            device="cpu")  # fmt: skip
    config = TrainingConfig(tune="full", augment=True, num_epochs=4, batch_size=8, device="cpu")
    assert len(experiment.fit(config).history) >= 1


def test_weights_are_rounded_when_they_are_to_be_stored_in_half_precision(
    tiny: Experiment, splits: dict[str, list[Meme]]
) -> None:
    full = tiny.fit(QUICK).classifier.state_dict()
    config = dataclasses.replace(QUICK, storage="fp16")
    rounded = Experiment(splits, "tiny", storage="fp16", device="cpu").fit(config).classifier.state_dict()
    with pytest.raises(TrainingError, match="storage is 'fp16'; the experiment was prepared for 'fp32'"):
        tiny.fit(config)
    assert {tensor.dtype for tensor in rounded.values() if tensor.is_floating_point()} == {torch.float32}
    for name, tensor in full.items():
        assert torch.equal(rounded[name], tensor.half().float()), name
    assert any(not torch.equal(rounded[name], tensor) for name, tensor in full.items())


@pytest.mark.parametrize("tune", ["scratch", "head", "lora", "last-blocks", "full"])
def test_a_bundle_of_half_the_size_answers_as_the_one_that_was_measured(
    splits: dict[str, list[Meme]], clip_folder: Path, tmp_path: Path, tune: str
) -> None:
    """Whether or not all of its weights have learnt."""
    settings: dict[str, Any] = {"num_epochs": 1, "batch_size": 8, "num_folds": 0, "device": "cpu", "num_blocks": 1}
    if tune != "scratch":
        settings["tune"] = tune
    backbone = "tiny" if tune == "scratch" else str(clip_folder)
    result = train(splits, backbone, TrainingConfig(**settings, storage="fp16"))
    for dtype in (torch.float32, torch.float16):
        save_bundle(result.bundle, tmp_path / str(dtype), dtype=dtype)
    half, full = (tmp_path / f"torch.float{bits}" / "model.safetensors" for bits in (16, 32))
    assert half.stat().st_size == pytest.approx(full.stat().st_size / 2, rel=0.1)
    measured, loaded = TorchPredictor(result.bundle), TorchPredictor(load_bundle(half.parent))
    memes = [measured.prepare(meme.image_path.read_bytes(), meme.text) for meme in splits["validation"]]
    assert loaded.logits(memes) == measured.logits(memes)


def test_the_command_augments_and_stores_as_it_is_told(demo_folder: Path, tmp_path: Path) -> None:
    options = ["--epochs", "1", "--device", "cpu", "--cache", str(tmp_path / "cache")]
    sizes = {}
    for name, more in (("plain", []), ("small", ["--tune", "full", "--augment", "--storage", "fp16"])):
        arguments = ["train", "--data", str(demo_folder), "--out", str(tmp_path / name), *options, *more]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        sizes[name] = (tmp_path / name / "model.safetensors").stat().st_size
    assert sizes["small"] == pytest.approx(sizes["plain"] / 2, rel=0.05)
    training = read_report(tmp_path / "small")["training"]
    assert (training["augment"], training["storage"]) == (True, "fp16")
    training = read_report(tmp_path / "plain")["training"]
    assert (training["augment"], training["storage"]) == (False, "fp32")


def test_unknown_storage_is_refused() -> None:
    with pytest.raises(TrainingError, match="storage 'int8' is none of fp32, fp16"):
        TrainingConfig(storage="int8")

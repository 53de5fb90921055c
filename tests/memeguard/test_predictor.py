"""Bytes and text become a verdict; a meme that cannot be predicted gets an error that says why."""

from __future__ import annotations

import dataclasses
import io
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from memeguard.bundle import Bundle
from memeguard.errors import (
    BundleError,
    ImageTooLargeError,
    InvalidTextError,
    MissingPartError,
    TextTooLongError,
    UnsupportedImageError,
)
from memeguard.predictor import PreparedMeme, decode_text, non_offensive_probability
from memeguard.preprocess import DecodingLimits
from memeguard.torch_runtime import TorchPredictor

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def predictor(small_bundle: Bundle) -> TorchPredictor:
    return TorchPredictor(small_bundle)


def picture(colour: str = "red", size: tuple[int, int] = (20, 10)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_meme_is_prepared_as_bytes_and_chunks(predictor: TorchPredictor) -> None:
    meme = predictor.prepare(picture(), "a caption")
    assert (meme.pixels_CHW.shape, meme.pixels_CHW.dtype) == ((3, 32, 32), np.uint8)
    assert meme.pixels_CHW[:, 0, 0].tolist() == [255, 0, 0]
    assert meme.chunks == predictor.captions.encode("a caption")


def test_bytes_and_text_say_the_same(predictor: TorchPredictor) -> None:
    chunks = [predictor.prepare(picture(), text).chunks for text in ("é \N{PILE OF POO}", "é \N{PILE OF POO}".encode())]
    assert chunks[0] == chunks[1]


def test_an_empty_caption_is_a_caption(predictor: TorchPredictor) -> None:
    assert len(predictor.predict([predictor.prepare(picture(), b"")])) == 1


@pytest.mark.parametrize(("image", "text"), [(None, "text"), (picture(), None), (None, None), (b"", "text")])
def test_a_missing_part_is_named(predictor: TorchPredictor, image: bytes | None, text: str | None) -> None:
    with pytest.raises(MissingPartError, match="image"):
        predictor.prepare(image, text)


def test_both_missing_parts_have_the_words_clients_know(predictor: TorchPredictor) -> None:
    with pytest.raises(MissingPartError, match=r"^Missing image or text$"):
        predictor.prepare(None, "text")


def test_a_bad_picture_and_a_long_caption_are_refused(predictor: TorchPredictor) -> None:
    with pytest.raises(UnsupportedImageError):
        predictor.prepare(b"no picture", "text")
    with pytest.raises(TextTooLongError, match=r"text has \d+ tokens; the limit is 2400"):
        predictor.prepare(picture(), "zq " * 2000)


def test_the_pixel_limit_is_the_callers(small_bundle: Bundle) -> None:
    with pytest.raises(ImageTooLargeError, match="the limit is 199"):
        TorchPredictor(small_bundle, limits=DecodingLimits(max_pixels=199)).prepare(picture(), "text")
    TorchPredictor(small_bundle, limits=DecodingLimits(max_pixels=200)).prepare(picture(), "text")


def test_the_first_byte_that_is_not_utf8_is_named() -> None:
    with pytest.raises(InvalidTextError, match="text is not UTF-8: byte 3 is 0xff"):
        decode_text(b"abc\xff\xfe")


def test_a_lone_surrogate_is_not_text() -> None:
    r"""JSON may spell one, as "\ud83d"; UTF-8 has no bytes for it."""
    with pytest.raises(InvalidTextError, match=r"character 3 is the lone surrogate U\+D83D"):
        decode_text("abc\ud83d")


@pytest.mark.parametrize("text", ["plain", b"plain", bytearray(b"plain")])
def test_text_comes_as_str_or_bytes(text: str | bytes) -> None:
    assert decode_text(text) == "plain"


@pytest.mark.parametrize("logit", [-30.0, -2.0, -0.1, 0.0, 0.1, 2.0, 30.0])
def test_the_probability_is_that_of_being_harmless(logit: float) -> None:
    assert non_offensive_probability(logit) == pytest.approx(1.0 / (1.0 + math.exp(logit)), rel=1e-12)


def test_extreme_logits_do_not_overflow() -> None:
    assert [non_offensive_probability(logit) for logit in (-1000.0, 1000.0)] == [1.0, 0.0]


def test_a_positive_logit_is_offensive(predictor: TorchPredictor) -> None:
    verdicts = [predictor._verdict(logit) for logit in (5.0, -5.0)]
    assert [verdict.prediction for verdict in verdicts] == ["Offensive", "Non-offensive"]
    assert verdicts[0].probability < 0.01
    assert verdicts[1].probability > 0.99
    assert [verdict.logit for verdict in verdicts] == [5.0, -5.0]


def test_the_threshold_itself_is_harmless(small_bundle: Bundle) -> None:
    predictor = TorchPredictor(small_bundle)
    labels = dataclasses.replace(predictor.config.labels, threshold=non_offensive_probability(0.7))
    predictor.config = dataclasses.replace(predictor.config, labels=labels)
    assert predictor._verdict(0.7).probability == labels.threshold
    predictions = [predictor._verdict(logit).prediction for logit in (0.6999, 0.7, 0.7001)]
    assert predictions == ["Non-offensive", "Non-offensive", "Offensive"]


@pytest.mark.parametrize("temperature", [0.05, 0.5, 3.0])
def test_the_temperature_divides_the_logit_before_it_is_a_probability(small_bundle: Bundle, temperature: float) -> None:
    """The logit itself stays, and so does the word at a threshold of one half."""
    plain, tempered = TorchPredictor(small_bundle), TorchPredictor(small_bundle)
    for predictor, value in ((plain, 1.0), (tempered, temperature)):
        labels = dataclasses.replace(predictor.config.labels, threshold=0.5, temperature=value)
        predictor.config = dataclasses.replace(predictor.config, labels=labels)
    memes = [plain.prepare(picture(colour), colour) for colour in ("red", "green", "white")]
    for before, after in zip(plain.predict(memes), tempered.predict(memes), strict=True):
        assert (after.logit, after.prediction) == (before.logit, before.prediction)
        assert after.probability == pytest.approx(1 / (1 + math.exp(before.logit / temperature)), rel=1e-12)
        assert after.probability != before.probability


def test_extreme_logits_do_not_overflow_at_any_temperature() -> None:
    assert [non_offensive_probability(logit, 0.05) for logit in (-1e6, 1e6)] == [1.0, 0.0]


@pytest.mark.parametrize("shift", [-40.0, -0.5, 0.7, 800.0])
def test_the_shift_is_added_to_the_log_odds_of_being_offensive(shift: float) -> None:
    for logit in (-3.0, 0.0, 2.0):
        expected = 1.0 / (1.0 + math.exp(min(700.0, logit / 2.0 + shift)))
        assert non_offensive_probability(logit, 2.0, shift) == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_a_verdict_is_by_scale_and_shift(small_bundle: Bundle) -> None:
    predictor = TorchPredictor(small_bundle)
    labels = dataclasses.replace(predictor.config.labels, threshold=0.5, temperature=2.0, shift=1.0)
    predictor.config = dataclasses.replace(predictor.config, labels=labels)
    verdicts = [predictor._verdict(logit) for logit in (-2.01, -1.99)]
    assert [verdict.prediction for verdict in verdicts] == ["Non-offensive", "Offensive"]
    assert verdicts[0].probability == pytest.approx(1 / (1 + math.exp(-0.005)), rel=1e-12)


def test_verdicts_follow_the_logits_in_order(predictor: TorchPredictor) -> None:
    memes = [predictor.prepare(picture(colour), colour) for colour in ("red", "green", "white")]
    logits = predictor.logits(memes)
    assert len(set(logits)) == 3
    assert [verdict.logit for verdict in predictor.predict(memes)] == logits
    for verdict in predictor.predict(memes):
        assert verdict.probability == non_offensive_probability(verdict.logit)
        assert (verdict.prediction == "Non-offensive") == (verdict.probability >= 0.375)


def test_no_memes_have_no_verdicts(predictor: TorchPredictor) -> None:
    assert predictor.predict([]) == []


def test_several_threads_may_ask_at_once(predictor: TorchPredictor) -> None:
    def judge(index: int) -> float:
        return predictor.logits([predictor.prepare(picture(size=(10 + index, 10)), f"number {index}")])[0]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(judge, range(12))) == [judge(index) for index in range(12)]


def test_warming_up_judges_alone_and_in_a_batch(small_bundle: Bundle) -> None:
    sizes: list[int] = []

    class Recorder(TorchPredictor):
        def logits(self, memes: list[PreparedMeme]) -> list[float]:  # type: ignore[override]
            sizes.append(len(memes))
            return super().logits(memes)

    Recorder(small_bundle).warm_up(8)
    assert sorted(sizes) == [1, 8]


def test_a_predictor_is_made_from_a_folder(predictor: TorchPredictor, bundle_folder: Path) -> None:
    meme = predictor.prepare(picture(), "a caption")
    assert TorchPredictor.from_folder(bundle_folder).logits([meme]) == predictor.logits([meme])
    with pytest.raises(BundleError):
        TorchPredictor.from_folder(bundle_folder / "nothing")


def test_a_classifier_in_training_mode_is_put_to_evaluation(bundle_folder: Path) -> None:
    bundle = TorchPredictor.from_folder(bundle_folder)
    bundle.classifier.train()
    meme = bundle.prepare(picture(), "a caption")
    again = TorchPredictor(Bundle(bundle.classifier, bundle.captions._tokenizer))
    assert again.logits([meme]) == again.logits([meme])

"""On a GPU, a meme gets the answer of the reference, in any batch, with and without recorded graphs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from memeguard.captions import pad_tokens
from memeguard.cuda_runtime import round_up
from memeguard.runtimes import load_predictor

if TYPE_CHECKING:
    from pathlib import Path

    from memeguard.predictor import Predictor, PreparedMeme

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
NEAR = {"abs": 0.05}  # bf16


@pytest.fixture(scope="module")
def predictor(bundle_folder: Path) -> Predictor:
    return load_predictor(bundle_folder, device="cuda")


@pytest.fixture(scope="module")
def memes(predictor: Predictor) -> list[PreparedMeme]:
    """Of many lengths, up to captions of several chunks."""
    rng = np.random.default_rng(3)
    memes = []
    for num_words in (0, 1, 5, 14, 15, 30, 60, 75, 76, 200):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(buffer, "PNG")
        memes.append(predictor.prepare(buffer.getvalue(), "word " * num_words))
    return memes


def test_batches_are_rounded_up_to_powers_of_two() -> None:
    assert [round_up(num) for num in (1, 2, 3, 4, 5, 16, 17)] == [1, 2, 4, 4, 8, 16, 32]


@pytest.mark.parametrize(("length", "padded"), [(2, 16), (16, 16), (17, 32), (64, 64), (65, 77), (77, 77)])
def test_captions_are_padded_to_a_step_or_to_the_whole_context(length: int, padded: int) -> None:
    tokens_NT = np.arange(3 * length).reshape(3, length)
    longer_NT = pad_tokens(tokens_NT, 77, step=16)
    assert longer_NT.shape == (3, padded)
    assert (longer_NT[:, :length] == tokens_NT).all()
    assert not longer_NT[:, length:].any()


@needs_gpu
def test_answers_are_those_of_the_reference(
    bundle_folder: Path, predictor: Predictor, memes: list[PreparedMeme]
) -> None:
    expected = load_predictor(bundle_folder, runtime="torch").logits(memes)
    predictor.warm_up(4)
    assert predictor.precision == "bf16"
    assert predictor.logits(memes) == pytest.approx(expected, **NEAR)


@needs_gpu
def test_what_was_judged_before_leaves_no_trace(predictor: Predictor, memes: list[PreparedMeme]) -> None:
    """A batch smaller than its recording, after one that filled it."""
    alone = [predictor.logits([meme])[0] for meme in memes]
    predictor.logits(memes[:8])
    assert predictor.logits(memes[3:8]) == pytest.approx(alone[3:8], **NEAR)
    assert predictor.logits(memes[::-1]) == pytest.approx(alone[::-1], **NEAR)


@needs_gpu
def test_more_memes_than_any_recording_holds_are_judged(predictor: Predictor, memes: list[PreparedMeme]) -> None:
    expected = [predictor.logits([meme])[0] for meme in memes]
    assert predictor.logits(memes * 30) == pytest.approx(expected * 30, **NEAR)

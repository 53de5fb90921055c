"""The right runtime is chosen for a bundle, and each gives the verdicts of the reference."""

from __future__ import annotations

import copy
import io
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

import memeguard
from archiving.conversion import convert_to_openvino
from memeguard.bundle import Bundle, load_bundle, save_bundle
from memeguard.errors import BundleError
from memeguard.runtimes import choose_runtime, load_predictor
from memeguard.torch_runtime import TorchPredictor

if TYPE_CHECKING:
    from memeguard.predictor import Predictor, PreparedMeme

CAPTIONS = ["", "a caption", "a caption of many words " * 30, "a caption of many words " * 60, "exactly " * 20]


@pytest.fixture(scope="module")
def converted(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its last weights are large, so that memes differ by much more than what a runtime may move."""
    folder = tmp_path_factory.mktemp("converted") / "bundle"
    classifier = copy.deepcopy(small_bundle.classifier)
    with torch.no_grad():
        classifier.head.classifier[-1].weight *= 20.0
    save_bundle(Bundle(classifier, small_bundle.tokenizer), folder)
    convert_to_openvino(classifier, folder)
    return folder


@pytest.fixture(scope="module")
def reference(converted: Path) -> TorchPredictor:
    return TorchPredictor.from_folder(converted)


@pytest.fixture(scope="module")
def openvino(converted: Path) -> Predictor:
    return load_predictor(converted, num_threads=1)


def make_memes(predictor: Predictor, num: int) -> list[PreparedMeme]:
    rng = np.random.default_rng(3)
    memes = []
    for index in range(num):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(buffer, "PNG")
        memes.append(predictor.prepare(buffer.getvalue(), CAPTIONS[index % len(CAPTIONS)]))
    return memes


def test_openvino_is_chosen_on_a_cpu_where_the_network_was_converted(converted: Path, bundle_folder: Path) -> None:
    assert choose_runtime(converted) == "openvino"
    assert choose_runtime(converted, "cuda:0") == "torch"
    assert choose_runtime(bundle_folder) == "torch"
    assert type(load_predictor(converted)).__name__ == "OpenVinoPredictor"
    assert isinstance(load_predictor(bundle_folder), TorchPredictor)
    assert isinstance(load_predictor(converted, runtime="torch"), TorchPredictor)


@pytest.mark.parametrize("num", [1, 2, 3, 5, 16])
def test_every_runtime_says_what_the_reference_says(reference: TorchPredictor, openvino: Predictor, num: int) -> None:
    """In any company, with captions of no, one and several chunks, and some that fill a chunk exactly."""
    memes = make_memes(reference, num)
    expected = reference.logits(memes)
    allowed = 0.1 if openvino.precision == "bf16" else 0.01
    assert openvino.logits(memes) == pytest.approx(expected, abs=allowed)
    if num > 1:
        assert np.ptp(expected) > 3 * allowed  # else anything would be near it


def test_a_caption_that_fills_the_text_tower_is_judged(reference: TorchPredictor, openvino: Predictor) -> None:
    """Padding to a round number of tokens must not exceed what the tower takes."""
    (meme,) = make_memes(reference, 1)
    for num_tokens in (75, 76, 77):
        full = meme._replace(chunks=[[0, *[5] * (num_tokens - 2), 1]])
        assert openvino.logits([full]) == pytest.approx(reference.logits([full]), abs=0.1)


def test_several_threads_may_ask_openvino_at_once(openvino: Predictor) -> None:
    memes = make_memes(openvino, 12)
    alone = [openvino.logits([meme])[0] for meme in memes]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda meme: openvino.logits([meme])[0], memes)) == alone


def test_no_memes_have_no_logits(openvino: Predictor) -> None:
    assert openvino.logits([]) == []


def test_verdicts_outlive_the_next_request(openvino: Predictor) -> None:
    """A runtime may reuse the memory it answers in."""
    first, second = make_memes(openvino, 2)
    (before,) = openvino.predict([first])
    value = before.logit
    openvino.predict([second])
    assert before.logit == value


def test_bf16_with_torch_is_near_the_reference(converted: Path, reference: TorchPredictor) -> None:
    """What CUDA computes in."""
    halved = TorchPredictor(load_bundle(converted), precision=torch.bfloat16)
    parts = (halved.classifier.clip, halved.classifier.head)
    dtypes = [{weight.dtype for weight in part.parameters()} for part in parts]
    assert dtypes == [{torch.bfloat16}, {torch.float32}]
    memes = make_memes(reference, 5)
    assert (halved.precision, reference.precision) == ("bf16", "f32")
    assert halved.logits(memes) == pytest.approx(reference.logits(memes), abs=0.2)
    assert halved.logits(memes) != reference.logits(memes)


def test_a_worker_with_openvino_needs_neither_torch_nor_transformers(converted: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from memeguard.runtimes import load_predictor\n"
        "load_predictor(Path(sys.argv[1])).warm_up(2)\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys(), sorted(sys.modules)\n"
    )
    environment = {"PYTHONPATH": str(Path(memeguard.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", script, str(converted)], check=True, env=environment)


@pytest.mark.parametrize(
    ("runtime", "device", "message"),
    [
        ("onnx", "cpu", "runtime 'onnx' is none of auto, openvino, torch"),
        ("openvino", "cuda:0", "runtime openvino computes on the CPU, not on cuda:0"),
    ],
)
def test_a_runtime_that_cannot_be_is_refused(converted: Path, runtime: str, device: str, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        load_predictor(converted, runtime=runtime, device=device)


def test_openvino_without_a_converted_network_is_refused(bundle_folder: Path) -> None:
    with pytest.raises(BundleError, match="holds no network converted for OpenVINO"):
        load_predictor(bundle_folder, runtime="openvino")


@pytest.mark.parametrize(
    "name", ["openvino/image.xml", "openvino/text.bin", "openvino/head.bin", "tokenizer.json", "model.safetensors"]
)
def test_damage_is_noticed(converted: Path, tmp_path: Path, name: str) -> None:
    damaged = shutil.copytree(converted, tmp_path / "bundle")
    content = bytearray((damaged / name).read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} is damaged"):
        load_predictor(damaged)
    (damaged / name).unlink()
    with pytest.raises(BundleError, match=f"lacks {name}"):
        load_predictor(damaged)


def test_checksums_that_are_none_are_refused(converted: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(converted, tmp_path / "bundle")
    for content in ("", "[]", json.dumps({"openvino/image.xml": "0"})):
        (damaged / "openvino" / "sha256.json").write_text(content, "utf-8")
        with pytest.raises(BundleError, match=r"sha256\.json does not hold the hashes"):
            load_predictor(damaged)

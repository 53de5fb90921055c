"""A SigLIP is trained, archived and served as a CLIP is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from memeguard.torch_runtime import TorchPredictor
from tests.backbone_folders import make_siglip
from tests.e2e.conftest import MEMEGUARD, run_memeguard, serving

if TYPE_CHECKING:
    from pathlib import Path


def test_a_siglip_is_served(demo_folder: Path, good_image: bytes, short_tmp: Path, tmp_path: Path) -> None:
    make_siglip(tmp_path / "siglip")
    bundle, store = tmp_path / "bundle", tmp_path / "store"
    data = ("--data", demo_folder)
    for arguments in (
        (
            "train",
            *data,
            "--backbone",
            tmp_path / "siglip",
            "--out",
            bundle,
            "--folds",
            0,
            "--cache",
            tmp_path / "cache",
        ),
        ("archive", bundle, "--version", "1.0.0", "--model-store", store, *data),
    ):
        done = run_memeguard(*arguments)
        assert done.returncode == 0, done.stderr
    card = json.loads((store / "meme-1.0.0.json").read_text("utf-8"))
    assert set(card["runtimes"]) == {"torch", "openvino"}
    captions = ["What a day!", "", "many words of which no tower reads all at once " * 9]
    with serving([MEMEGUARD, "serve", f"--model-store={store}"], tmp_path / "run", short_tmp) as server:
        answers = [server.predict(good_image, caption) for caption in captions]
        assert [answer.status_code for answer in answers] == [200] * 3
        answered = [answer.json()["probability"] for answer in answers]
    predictor = TorchPredictor.from_folder(bundle)
    expected = predictor.predict([predictor.prepare(good_image, caption) for caption in captions])
    assert answered == pytest.approx([verdict.probability for verdict in expected], abs=0.06)

"""What the repository brings: the compact CLIP and the starter bundle, small, whole, as good as their report says."""

from __future__ import annotations

import random
import statistics
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sklearn.metrics import roc_auc_score
from transformers import CLIPModel

from memeguard.bundle import load_bundle
from memeguard.bundle_files import read_report
from memeguard.torch_runtime import TorchPredictor
from memes.meme_table import label_array
from memes.misreading import misread
from memes.reading import read_split
from training.backbones import COMPACT_FOLDER, BackboneError, load_backbone, load_tokenizer, loading

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ResourceWarning)  # model_archiver/version.py leaves its file open
    from archiving import starter
    from archiving.archive import ArchiveError
    from archiving.starter import STARTER_FOLDER, build_starter

MAX_BYTES = 25e6  # in half precision, tokenizer included
MEME = Path(__file__).parents[2] / "docs" / "meme.png"
HARMEME = Path(__file__).parents[3] / "shared" / "harmeme"  # not a part of the repository


@pytest.fixture(scope="module")
def predictor() -> TorchPredictor:
    return TorchPredictor.from_folder(STARTER_FOLDER)


@pytest.mark.parametrize("folder", [COMPACT_FOLDER, STARTER_FOLDER], ids=lambda folder: folder.name)
def test_both_are_small_and_in_half_precision(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MAX_BYTES
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} <= {"F16", "I64"}  # noqa: SIM118 - no dict
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors"}


def test_compact_is_an_ordinary_clip() -> None:
    clip, found = CLIPModel.from_pretrained(COMPACT_FOLDER, output_loading_info=True)
    assert not any(found.values())
    assert clip.config.projection_dim == 384
    backbone = load_backbone("compact", [])
    assert (backbone.name, backbone.pretrained, backbone.image.size) == ("compact", True, 112)
    assert backbone.tokenizer.to_str() == load_tokenizer("compact", []).to_str()


def test_compacts_texts_of_one_meaning_are_nearer_than_others() -> None:
    backbone = load_backbone("compact", [])
    start, end = backbone.text.start_id, backbone.text.end_id

    def embed(text: str) -> torch.Tensor:
        ids = [start, *backbone.tokenizer.encode(text, add_special_tokens=False).ids, end]
        with torch.no_grad():
            hidden = backbone.clip.text_model(input_ids=torch.tensor([ids])).last_hidden_state[:, -1]
            return torch.nn.functional.normalize(backbone.clip.text_projection(hidden), dim=-1)[0]

    for one, near, far in (
        ("the doctor gave her a vaccine", "she was vaccinated by a physician", "he plays the guitar in a band"),
        ("the president lost the election", "the head of state was not elected again", "bake the bread for an hour"),
        ("wear a mask in the shop", "waer a rnask in the sh0p", "the train leaves at noon"),
    ):
        assert float(embed(one) @ embed(near)) > float(embed(one) @ embed(far)) + 0.2


def test_where_only_the_package_is_installed_both_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loading, "COMPACT_FOLDER", tmp_path / "compact")
    monkeypatch.setattr(starter, "STARTER_FOLDER", tmp_path / "bundle")
    with pytest.raises(BackboneError, match=r"^backbone compact is a part of the repository"):
        load_backbone("compact", [])
    with pytest.raises(ArchiveError, match=r"^the starter is a part of the repository"):
        build_starter(tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_the_starter_was_trained_from_compact_and_not_on_the_test_split() -> None:
    report = read_report(STARTER_FOLDER)
    assert report["backbone"] == load_bundle(STARTER_FOLDER).classifier.config.backbone == "compact"
    assert report["data"]["num_memes"] == {"train": 3013, "validation": 177}


def test_case_and_blanks_change_nothing(predictor: TorchPredictor) -> None:
    picture = MEME.read_bytes()
    texts = ("nobody tells me what to do", "NOBODY TELLS ME WHAT TO DO", "  Nobody tells\nme what to   do ")
    assert len({tuple(predictor.logits([predictor.prepare(picture, text)])) for text in texts}) == 1


@pytest.mark.skipif(not HARMEME.is_dir(), reason="HarMeme is not here")
def test_misread_and_missing_captions_change_little(predictor: TorchPredictor) -> None:
    memes = list(read_split(HARMEME, "validation", verify_images=False))
    offensive = label_array(memes)
    prepared = [predictor.prepare(meme.image_path.read_bytes(), meme.text) for meme in memes]
    rng = random.Random(0)
    misspelt = [one._replace(chunks=predictor.captions.encode(misread(meme.text, rng, 0.05)))
                for one, meme in zip(prepared, memes, strict=True)]  # fmt: skip
    silent = [one._replace(chunks=predictor.captions.encode("")) for one in prepared]
    usual, noisy, mute = (predictor.predict(each) for each in (prepared, misspelt, silent))
    aurocs = [roc_auc_score(offensive, [verdict.logit for verdict in verdicts]) for verdicts in (usual, noisy, mute)]
    assert aurocs[0] == pytest.approx(read_report(STARTER_FOLDER)["validation"]["model"]["auroc"], abs=1e-3)
    assert aurocs[1] > aurocs[0] - 0.05
    assert aurocs[2] > 0.5
    changes = [abs(one.probability - other.probability) for one, other in zip(usual, noisy, strict=True)]
    assert statistics.median(changes) < 0.05
    assert np.mean([one.prediction != other.prediction for one, other in zip(usual, noisy, strict=True)]) < 0.15

"""Backbones of every family give the features that transformers' own classes give, from the file to the feature."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
import pytest
import torch
from PIL import Image
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer, CLIPImageProcessorPil, PreTrainedTokenizerFast

from archiving.conversion import convert_to_openvino
from memeguard.backbone_config import FAMILIES
from memeguard.bundle import Bundle, load_bundle, save_bundle
from memeguard.bundle_files import OPENVINO_NETWORKS
from memeguard.captions import collate_captions
from memeguard.classifier import MemeClassifier
from memeguard.config import ModelConfig
from memeguard.runtimes import load_predictor
from memeguard.torch_runtime import TorchPredictor
from memes.preparing import encode_memes
from tests.backbone_folders import CONTEXT, MAKERS, make_altclip, make_chinese_clip, make_siglip, make_siglip2
from training.backbones import BackboneError, load_backbone, load_words
from training.config import TrainingConfig
from training.tuning import Tuning

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from memeguard.predictor import PreparedMeme

CAPTIONS = ["When the Cat, SITS", "", "two", "no way!? 7"]  # none of them fills a chunk
LONG = "many words of which no tower reads all at once " * 9


@pytest.fixture(scope="module", params=MAKERS)
def folder(request: pytest.FixtureRequest, _one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("hub") / request.param
    MAKERS[request.param](path)
    return path


def make_bundle(folder: Path) -> Bundle:
    """A bundle with the backbone in ``folder`` and a random head whose logits differ from meme to meme."""
    backbone = load_backbone(str(folder), [])
    config = ModelConfig(
        backbone="small", clip=backbone.clip.config.to_dict(), image=backbone.image, text=backbone.text
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        classifier = MemeClassifier(config, backbone.clip).eval()
        classifier.head.classifier[-1].weight *= 20.0
    return Bundle(classifier, backbone.tokenizer)


def prepare_memes(predictor: TorchPredictor) -> list[PreparedMeme]:
    captions = [*CAPTIONS[:3], LONG]
    return [predictor.prepare(file, text) for file, text in zip(draw_pictures(), captions, strict=True)]


def draw_pictures() -> list[bytes]:
    """Files of pictures, upright and wide."""
    rng, files = np.random.default_rng(5), []
    for width, height in ((90, 60), (64, 64), (50, 95), (40, 20)):
        patches = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        patches.resize((width, height), Image.Resampling.BICUBIC).save(file := io.BytesIO(), "PNG")
        files.append(file.getvalue())
    return files


def normalized_pixels(folder: Path, files: list[bytes]) -> Tensor:
    """What transformers' image processor makes of the pictures; the families differ in the settings that it reads."""
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    pictures = [Image.open(io.BytesIO(file)) for file in files]
    pixels: Tensor = processor(images=pictures, return_tensors="pt")["pixel_values"]
    return pixels


def tokenized(folder: Path, texts: list[str]) -> dict[str, Tensor]:
    """What transformers' tokenizer makes of the texts, as the documentation of each family says."""
    if not folder.name.startswith("siglip"):
        return dict(AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt"))
    kind: Any = PreTrainedTokenizerFast if folder.name == "siglip" else AutoTokenizer
    lower = [text.lower() for text in texts]
    encoded = kind.from_pretrained(folder)(lower, padding="max_length", max_length=CONTEXT, return_tensors="pt")
    return {"input_ids": encoded["input_ids"]}


@torch.no_grad()
def test_features_are_those_of_transformers(folder: Path) -> None:
    files, model = draw_pictures(), AutoModel.from_pretrained(folder).eval()
    predictor = TorchPredictor(make_bundle(folder))
    prepared = [predictor.prepare(file, text) for file, text in zip(files, CAPTIONS, strict=True)]
    images_BD, texts_BD = encode_memes(predictor, prepared)
    expected = model.get_image_features(pixel_values=normalized_pixels(folder, files)).pooler_output
    torch.testing.assert_close(images_BD, functional.normalize(expected, dim=-1), rtol=0, atol=1e-5)
    expected = model.get_text_features(**tokenized(folder, CAPTIONS)).pooler_output
    torch.testing.assert_close(texts_BD, functional.normalize(expected, dim=-1), rtol=0, atol=1e-5)
    for features_BD in (images_BD, texts_BD):  # or else the same feature for every meme would do
        assert torch.pdist(features_BD).min() > 0.01


@torch.no_grad()
def test_a_long_caption_is_the_mean_of_whole_chunks(folder: Path) -> None:
    predictor = TorchPredictor(make_bundle(folder))
    chunks = predictor.captions.encode(LONG)
    assert len(chunks) > 3
    assert max(map(len, chunks)) == len(chunks[0]) <= CONTEXT
    meme, *_ = prepare_memes(predictor)
    parts_ND = encode_memes(predictor, [meme._replace(chunks=[chunk]) for chunk in chunks])[1]
    whole_BD = encode_memes(predictor, [meme._replace(chunks=chunks)])[1]
    torch.testing.assert_close(whole_BD[0], parts_ND.mean(0), rtol=0, atol=1e-5)


def test_a_bundle_is_read_back_and_gives_the_same_logits(folder: Path, tmp_path: Path) -> None:
    bundle = make_bundle(folder)
    save_bundle(bundle, tmp_path / "bundle")
    predictor, loaded = TorchPredictor(bundle), TorchPredictor(load_bundle(tmp_path / "bundle"))
    memes = prepare_memes(predictor)
    assert loaded.logits(memes) == predictor.logits(memes)
    assert [meme.chunks for meme in prepare_memes(loaded)] == [meme.chunks for meme in memes]


@pytest.fixture(scope="module")
def converted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with networks for OpenVINO that are not quantized."""
    path: Path = tmp_path_factory.mktemp("converted") / "bundle"
    bundle = make_bundle(folder)
    save_bundle(bundle, path)
    convert_to_openvino(bundle.classifier, path)
    return path


@torch.no_grad()
def test_converted_towers_give_the_same_features(converted: Path) -> None:
    """In float32, for which OpenVinoPredictor does not ask; chunks of several lengths, alone and together."""
    reference = TorchPredictor.from_folder(converted)
    core, settings = openvino.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
    image, text, _ = (core.compile_model(converted / name, "CPU", settings) for name in OPENVINO_NETWORKS)
    memes = prepare_memes(reference)
    for batch in (memes, memes[:1]):
        pixels_BCHW, captions = (
            np.stack([meme.pixels_CHW for meme in batch]),
            collate_captions([m.chunks for m in batch]),
        )
        images_BD = encode_memes(reference, batch)[0]
        texts_ND = reference.classifier.encode_chunks(*map(torch.from_numpy, captions[:2]))
        torch.testing.assert_close(torch.from_numpy(image(pixels_BCHW)[0]), images_BD, rtol=0, atol=5e-3)
        torch.testing.assert_close(torch.from_numpy(text(list(captions[:2]))[0]), texts_ND, rtol=0, atol=5e-3)


@pytest.mark.parametrize("is_quantized", [False, True])
def test_openvino_says_what_torch_says(folder: Path, converted: Path, tmp_path: Path, *, is_quantized: bool) -> None:
    reference = TorchPredictor.from_folder(converted)
    memes = prepare_memes(reference)
    path = converted
    if is_quantized:
        save_bundle(make_bundle(folder), path := tmp_path / "bundle")
        convert_to_openvino(reference.classifier, path, calibration=memes * 4)
    predictor = load_predictor(path, num_threads=1)
    assert (predictor.precision == "int8") == is_quantized
    expected = reference.logits(memes)
    allowed = {"f32": 0.02, "bf16": 0.3, "int8": 0.4}[predictor.precision] * np.ptp(expected)
    assert predictor.logits(memes) == pytest.approx(expected, abs=allowed)
    for meme, logit in zip(memes, expected, strict=True):
        assert predictor.logits([meme]) == [pytest.approx(logit, abs=allowed)]


@pytest.mark.parametrize("tune", ["lora", "last-blocks", "full"])
def test_both_towers_of_every_family_can_learn(folder: Path, tune: Any) -> None:
    classifier = make_bundle(folder).classifier
    tuning = Tuning(classifier, TrainingConfig(tune=tune, num_blocks=1, device="cpu"), pretrained=True)
    grouped = [id(weight) for group in tuning.groups for weight in group.parameters]
    assert len(grouped) == len(set(grouped))
    learning = {name for name, weight in classifier.clip.named_parameters() if weight.requires_grad}
    for tower in ("vision_model.", "text_model."):
        assert any(name.startswith(tower) for name in learning)
    if tune == "full":
        lacking = {name for name, _ in classifier.clip.named_parameters()} - learning
        assert lacking <= {"logit_scale", "logit_bias"}


@pytest.mark.parametrize("make", [make_siglip, make_siglip2])
def test_siglip_reads_lower_case(make: Any, tmp_path: Path) -> None:
    make(tmp_path / "siglip")
    tokenizer = load_words(str(tmp_path / "siglip"), []).tokenizer
    shouted, said = (tokenizer.encode(text, add_special_tokens=False).ids for text in ("THE Cat", "the cat"))
    assert shouted == said


def test_siglip_reads_no_punctuation_whatever_its_files_say(tmp_path: Path) -> None:
    """As transformers' own class does, which needs the SentencePiece model."""
    make_siglip(folder := tmp_path / "siglip")
    expected = load_words(str(folder), []).tokenizer.encode("so what 7", add_special_tokens=False).ids
    edit_json(folder / "tokenizer.json", normalizer=None)
    tokenizer = load_words(str(folder), []).tokenizer
    assert tokenizer.encode(" So,  [what]?! \\7", add_special_tokens=False).ids == expected


def edit_json(path: Path, **members: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **members}), "utf-8")


def refusal_of(folder: Path) -> str:
    with pytest.raises(BackboneError) as caught:
        load_backbone(str(folder), [])
    return str(caught.value)


@pytest.mark.parametrize("model_type", ["blip", "siglip2", None, ["clip"]])
def test_another_kind_is_refused_with_the_supported_ones(model_type: Any, tmp_path: Path) -> None:
    make_siglip(folder := tmp_path / "other")
    edit_json(folder / "config.json", model_type=model_type)
    message = refusal_of(folder)
    assert f"is a {model_type!r}; it must be one of {', '.join(FAMILIES)}" in message
    assert ("fixed resolution" in message) == (model_type == "siglip2")


def test_a_joined_backbone_of_unknown_towers_is_refused(tmp_path: Path) -> None:
    MAKERS["vit-bert"](folder := tmp_path / "joined")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    edit_json(folder / "config.json", text_config={**config["text_config"], "model_type": "gpt2"})
    assert "model_type of text_config is 'gpt2'; it must be one of bert, roberta, xlm-roberta" in refusal_of(folder)


def test_a_siglip_without_its_head_is_refused(tmp_path: Path) -> None:
    make_siglip(folder := tmp_path / "siglip")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    edit_json(folder / "config.json", vision_config={**config["vision_config"], "vision_use_head": False})
    assert "vision_use_head is False" in refusal_of(folder)


@pytest.mark.parametrize("value", [9, "bicubic", None])
def test_an_unknown_filter_is_refused(value: Any, tmp_path: Path) -> None:
    make_siglip(folder := tmp_path / "siglip")
    edit_json(folder / "preprocessor_config.json", resample=value)
    assert f"resample is {value!r}; it must be a number from 0 to 5" in refusal_of(folder)


def test_a_tokenizer_of_more_tokens_than_the_tower_is_refused(tmp_path: Path) -> None:
    make_altclip(folder := tmp_path / "altclip")
    edit_json(folder / "tokenizer_config.json", additional_special_tokens=["<more>"])
    assert re.search(r"its tokenizer: it has the token id (\d+); the text tower has \1 tokens", refusal_of(folder))


def test_a_sentencepiece_model_alone_is_refused(tmp_path: Path) -> None:
    make_siglip(folder := tmp_path / "siglip")
    (folder / "tokenizer.json").rename(folder / "spiece.model")
    assert "tokenizer" in refusal_of(folder)


def test_preprocessing_is_that_of_the_files(tmp_path: Path) -> None:
    make_siglip2(tmp_path / "siglip")
    make_altclip(tmp_path / "altclip")
    siglip, altclip = (load_backbone(str(tmp_path / name), []) for name in ("siglip", "altclip"))
    assert (siglip.image.resampling, siglip.image.mean, siglip.image.std) == ("bilinear", (0.5,) * 3, (0.5,) * 3)
    assert altclip.image.resampling == "bicubic"
    assert (siglip.text.start_id, siglip.text.end_id, siglip.text.pad_id) == (None, 1, 0)
    assert (altclip.text.start_id, altclip.text.end_id, altclip.text.pad_id) == (0, 2, None)


def test_a_context_longer_than_the_towers_is_the_towers(tmp_path: Path) -> None:
    """Two positions of XLM-RoBERTa are never used."""
    make_altclip(folder := tmp_path / "altclip")
    edit_json(folder / "tokenizer_config.json", model_max_length=512)
    assert load_backbone(str(folder), []).text.context_length == CONTEXT + 4
    make_chinese_clip(folder := tmp_path / "chinese")
    edit_json(folder / "tokenizer_config.json", model_max_length=512)
    assert load_backbone(str(folder), []).text.context_length == CONTEXT + 4

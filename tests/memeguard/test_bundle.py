"""A bundle is read back as it was written. An incomplete one is refused with a reason, and none is overwritten."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from memeguard import bundle as bundle_module
from memeguard.bundle import Bundle, load_bundle, save_bundle
from memeguard.bundle_files import read_model_config, read_report, read_tokenizer
from memeguard.config import ImageConfig
from memeguard.errors import BundleError
from memeguard.output_folder import OutputError
from memeguard.predictor import PreparedMeme
from memeguard.torch_runtime import TorchPredictor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = ["config.json", "model.safetensors", "report.json", "tokenizer.json"]


@pytest.fixture
def copy(bundle_folder: Path, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return shutil.copytree(bundle_folder, tmp_path / "copy")


@pytest.fixture
def memes() -> list[PreparedMeme]:
    pixels_BCHW = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte().numpy()
    return [PreparedMeme(pixels, [[0, 10 + row, 20, 1]]) for row, pixels in enumerate(pixels_BCHW)]


def edit_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "config.json"
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def flip_byte(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def tree_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_bundle_read_back_gives_the_same_logits(
    small_bundle: Bundle, bundle_folder: Path, memes: list[PreparedMeme]
) -> None:
    loaded = load_bundle(bundle_folder)
    assert not loaded.classifier.training
    assert TorchPredictor(loaded).logits(memes) == TorchPredictor(small_bundle).logits(memes)
    written = json.dumps(
        small_bundle.classifier.config.to_dict()
    )  # JSON's keys are strings, a new CLIPConfig's are not
    assert json.loads(json.dumps(loaded.classifier.config.to_dict())) == json.loads(written)
    assert loaded.tokenizer.to_str() == small_bundle.tokenizer.to_str()


def test_saving_twice_writes_the_same_bytes(small_bundle: Bundle, bundle_folder: Path, tmp_path: Path) -> None:
    save_bundle(small_bundle, tmp_path / "again", report=read_report(bundle_folder))
    assert tree_of(tmp_path / "again") == tree_of(bundle_folder)


def test_everybody_may_read_a_bundle(bundle_folder: Path) -> None:
    assert sorted(path.name for path in bundle_folder.iterdir()) == FILES
    assert {path.stat().st_mode & 0o444 for path in bundle_folder.iterdir()} == {0o444}
    assert bundle_folder.stat().st_mode & 0o055 == 0o055


def test_the_report_is_kept(bundle_folder: Path) -> None:
    assert read_report(bundle_folder) == {"validation": {"model": {"auroc": 0.75}}}


def test_a_bundle_without_a_report_has_an_empty_one(small_bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(small_bundle, tmp_path / "a" / "b")
    assert read_report(tmp_path / "a" / "b") == {}
    load_bundle(tmp_path / "a" / "b")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_one_damaged_bit_is_noticed(copy: Path, name: str, place: float) -> None:
    path = copy / name
    flip_byte(path, int(path.stat().st_size * place))
    with pytest.raises(BundleError, match=rf"{name} is damaged: its sha256 is .*, config\.json says"):
        load_bundle(copy)


def test_truncated_weights_are_noticed(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"model\.safetensors is damaged"):
        load_bundle(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"lacks {name}"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("name", "message"),
    [("model.safetensors", "is not a safetensors file"), ("tokenizer.json", "is not a tokenizer")],
)
def test_a_file_of_another_kind_is_named(copy: Path, name: str, message: str) -> None:
    """Even if config.json vouches for it."""
    (copy / name).write_bytes(b"{}")
    edit_config(copy, lambda content: content["sha256"].update({name: hashlib.sha256(b"{}").hexdigest()}))
    with pytest.raises(BundleError, match=f"{name} {message}"):
        load_bundle(copy)


def test_what_is_no_folder_is_refused(copy: Path) -> None:
    for path in (copy / "config.json", copy / "nothing"):
        with pytest.raises(BundleError, match="is not a folder"):
            load_bundle(path)


def test_a_folder_without_config_is_no_bundle(copy: Path) -> None:
    (copy / "config.json").unlink()
    with pytest.raises(BundleError, match=r"copy is not a bundle: it has no config\.json"):
        load_bundle(copy)


@pytest.mark.parametrize("content", [b"", b"weights:", b'{"format": ', b"\xff\xfe{}"])
def test_a_config_that_is_not_json_is_refused(copy: Path, content: bytes) -> None:
    (copy / "config.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"config\.json is not JSON"):
        load_bundle(copy)


@pytest.mark.parametrize("content", ["[]", "null", '"memeguard-bundle"', "{}", '{"architectures": ["CLIPModel"]}'])
def test_somebody_elses_json_is_refused(copy: Path, content: str) -> None:
    (copy / "config.json").write_text(content, "utf-8")
    with pytest.raises(BundleError, match="does not belong to a memeguard bundle"):
        load_bundle(copy)


@pytest.mark.parametrize("version", [0, 4, "1", None])
def test_another_format_version_is_refused(copy: Path, version: object) -> None:
    edit_config(copy, lambda content: content.update(format_version=version))
    message = rf"has format version {version!r}; this code reads the versions 1, 2 and 3$"
    with pytest.raises(BundleError, match=message) as caught:
        load_bundle(copy)
    assert "\n" not in str(caught.value)


def test_a_bundle_from_before_temperatures_is_read(copy: Path, memes: list[PreparedMeme], bundle_folder: Path) -> None:
    edit_config(copy, lambda content: content.update(format_version=1))
    for name in ("temperature", "shift", "operating_points"):
        edit_config(copy, lambda content, name=name: content["model"]["labels"].pop(name))
    old = load_bundle(copy)
    assert old.classifier.config.labels.temperature == 1.0
    assert TorchPredictor(old).predict(memes) == TorchPredictor.from_folder(bundle_folder).predict(memes)


def test_a_bundle_with_a_temperature_alone_answers_the_same_bits(copy: Path, memes: list[PreparedMeme]) -> None:
    """The arithmetic of format version 2: the logit divided by the temperature, and nothing added."""
    edit_config(copy, lambda content: content.update(format_version=2))
    edit_config(copy, lambda content: content["model"]["labels"].update(temperature=2.231476098427553))
    for name in ("shift", "operating_points"):
        edit_config(copy, lambda content, name=name: content["model"]["labels"].pop(name))
    for verdict in TorchPredictor.from_folder(copy).predict(memes):
        scaled = verdict.logit / 2.231476098427553
        odds = math.exp(-abs(scaled))
        assert verdict.probability == (1.0 / (1.0 + odds) if scaled < 0 else odds / (1.0 + odds))


def test_calibration_and_thresholds_travel_in_the_bundle(copy: Path, tmp_path: Path) -> None:
    content = json.loads((copy / "config.json").read_text("utf-8"))
    assert (content["format_version"], content["model"]["labels"]["shift"]) == (3, 0.0)
    said = {"temperature": 2.5, "shift": -0.75, "threshold": 0.25, "operating_points": {"recall=0.8": 0.5}}
    edit_config(copy, lambda content: content["model"]["labels"].update(said))
    save_bundle(load_bundle(copy), tmp_path / "again")
    labels = load_bundle(tmp_path / "again").classifier.config.labels
    assert {name: getattr(labels, name) for name in said} == said


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("shift", float("nan"), "shift is nan; it must be a number from -1000 to 1000"),
        ("shift", 1001, "shift is 1001; it must be a number"),
        ("shift", "0", "shift is '0'; it must be a number"),
        ("operating_points", [0.5], r"operating_points is \[0.5\]; it must be at most 100 names with numbers"),
        (
            "operating_points",
            {"recall=0.8": 1.5},
            "operating_points: recall=0.8 is 1.5; it must be a number from 0 to 1",
        ),
        ("operating_points", {"a\x1b[2J": 0.5}, r"a name in operating_points is 'a\\x1b\[2J'; it must be printable"),
        ("operating_points", {"x" * 101: 0.5}, "a name in operating_points is .*; it must be a string of at most 100"),
        ("operating_points", {str(number): 0.5 for number in range(101)}, "it must be at most 100 names with numbers"),
    ],
)
def test_a_calibration_that_is_out_of_range_is_refused(copy: Path, member: str, value: Any, message: str) -> None:
    edit_config(copy, lambda content: content["model"]["labels"].update({member: value}))
    with pytest.raises(BundleError, match=message):
        load_bundle(copy)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf"), "1", None, True])
def test_a_temperature_that_is_no_positive_number_is_refused(copy: Path, temperature: object) -> None:
    edit_config(copy, lambda content: content["model"]["labels"].update(temperature=temperature))
    with pytest.raises(BundleError, match=rf"temperature {temperature!r} is not a positive number"):
        load_bundle(copy)


@pytest.mark.parametrize("checksums", [None, [], {}, {"model.safetensors": "0"}])
def test_a_bundle_without_checksums_is_refused(copy: Path, checksums: object) -> None:
    edit_config(copy, lambda content: content.update(sha256=checksums))
    with pytest.raises(BundleError, match="lacks the checksums"):
        load_bundle(copy)


@pytest.mark.parametrize("member", ["backbone", "clip", "image", "text", "head", "labels"])
def test_a_missing_member_of_the_model_is_named(copy: Path, member: str) -> None:
    edit_config(copy, lambda content: content["model"].pop(member))
    with pytest.raises(BundleError, match=f"lacks the member '{member}'"):
        load_bundle(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"image": []},
        {"image": {"size": 32, "crop": True}},
        {"text": {"context_length": 77}},
        {"head": None},
        {"clip": 5},
        {"clip": {"vision_config": {"hidden_size": "wide"}}},
        {"clip": {"vision_config": {"hidden_size": 33, "num_attention_heads": 2}}},
        {"labels": {"threshold": 1.5}},
        {"labels": {"threshold": "0.5"}},
        {"labels": {"threshold": float("nan")}},
    ],
    ids=str,
)
def test_a_model_that_cannot_be_is_refused(copy: Path, change: dict[str, object]) -> None:
    edit_config(copy, lambda content: content["model"].update(change))
    with pytest.raises(BundleError, match=r"config\.json"):
        load_bundle(copy)


def test_unknown_modalities_are_named(copy: Path) -> None:
    edit_config(copy, lambda content: content["model"]["head"].update(modalities="sound"))
    with pytest.raises(BundleError, match=r"modalities 'sound' is not one of .*'both', 'image', 'text'"):
        load_bundle(copy)


def test_weights_of_another_shape_are_refused(copy: Path) -> None:
    edit_config(copy, lambda content: content["model"]["head"].update(projection_dim=17))
    with pytest.raises(BundleError, match=r"(?s)model\.safetensors does not fit config\.json: .*size mismatch"):
        load_bundle(copy)


def test_what_exists_is_never_overwritten(small_bundle: Bundle, copy: Path) -> None:
    before = tree_of(copy)
    for target, reason in ((copy, "is not empty"), (copy / "report.json", "cannot be written: Not a directory")):
        with pytest.raises(OutputError, match=reason):
            save_bundle(small_bundle, target)
    assert tree_of(copy) == before


def test_an_empty_folder_is_filled(small_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save_bundle(small_bundle, tmp_path / "empty")
    load_bundle(tmp_path / "empty")


def test_a_relative_folder_is_written(small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_bundle(small_bundle, type(tmp_path)("here"))
    load_bundle(tmp_path / "here")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_an_interrupted_save_leaves_nothing(
    small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    def stop(path: Path, content: object) -> None:
        raise interruption

    monkeypatch.setattr(bundle_module, "write_json", stop)
    with pytest.raises(interruption):
        save_bundle(small_bundle, tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def rounded(bundle_folder: Path) -> Bundle:
    """``small_bundle`` with weights that half precision holds."""
    bundle = load_bundle(bundle_folder)
    bundle.classifier.half().float()
    return bundle


def test_weights_in_half_precision_take_half_the_room_and_are_read_in_full(
    rounded: Bundle, bundle_folder: Path, tmp_path: Path, memes: list[PreparedMeme]
) -> None:
    save_bundle(rounded, tmp_path / "half", dtype=torch.float16)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (tmp_path / "half", bundle_folder)]
    assert sizes[0] == pytest.approx(sizes[1] / 2, rel=0.05)
    assert {tensor.dtype for tensor in load_file(tmp_path / "half" / "model.safetensors").values()} == {torch.float16}
    loaded = load_bundle(tmp_path / "half")
    assert {parameter.dtype for parameter in loaded.classifier.parameters()} == {torch.float32}
    assert TorchPredictor(loaded).logits(memes) == TorchPredictor(rounded).logits(memes)


def test_saving_in_half_precision_leaves_the_weights_as_they_are(small_bundle: Bundle, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in small_bundle.classifier.state_dict().items()}
    save_bundle(small_bundle, tmp_path / "half", dtype=torch.float16)
    after = small_bundle.classifier.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert any(not torch.equal(tensor, tensor.half().float()) for tensor in before.values())


def test_saving_in_half_precision_twice_writes_the_same_bytes(rounded: Bundle, tmp_path: Path) -> None:
    for name in ("first", "second"):
        save_bundle(rounded, tmp_path / name, dtype=torch.float16)
    assert tree_of(tmp_path / "first") == tree_of(tmp_path / "second")


@pytest.mark.parametrize(
    ("member", "change", "message"),
    [
        ("image", {"mean": "evil"}, "mean is 'evil'; it must be 3 numbers"),
        ("image", {"mean": [0.5, float("nan"), 0.5]}, "mean is nan; it must be a number"),
        ("image", {"std": [0.5, 0.5]}, "std is .*; it must be 3 numbers"),
        ("image", {"std": [1e-300, 1, 1]}, "std is 1e-300; it must be a number from 0.001"),
        ("image", {"size": 48}, "image size is 48; the picture tower reads 32"),
        ("image", {"size": 32.0}, "image size is 32.0; it must be a whole number"),
        ("text", {"context_length": 78}, "context_length is 78; the text tower has 77 positions"),
        ("text", {"start_id": 10**6}, "start_id is 1000000; it must be a whole number from 0 to"),
        ("text", {"max_chunks": True}, "max_chunks is True; it must be a whole number"),
        ("head", {"projection_dim": 2**40}, "projection_dim is 1099511627776; it must be a whole number"),
        ("head", {"dropout": [0.1, 0.2, None]}, "dropout is None; it must be a number"),
        ("labels", {"threshold": True}, "threshold is True; it must be a number"),
        ("clip", {"text_config": 7}, "text_config is a int, not an object"),
        ("clip", {"projection_dim": "wide"}, "projection_dim is 'wide'"),
    ],
)
def test_a_wrong_setting_is_named(copy: Path, member: str, change: dict[str, object], message: str) -> None:
    edit_config(copy, lambda content: content["model"][member].update(change))
    with pytest.raises(BundleError, match=message):
        load_bundle(copy)
    with pytest.raises(BundleError, match=message):
        read_model_config(copy)


@pytest.mark.parametrize("name", ["hidden_size", "intermediate_size"])
def test_a_size_that_would_fill_the_memory_is_refused_before_it_does(copy: Path, name: str) -> None:
    """At the limit of what a setting may be, a tower would take 100 GB."""
    edit_config(copy, lambda content: content["model"]["clip"]["text_config"].update({name: 65_536}))
    with pytest.raises(BundleError, match=r"model\.safetensors does not fit config\.json: size mismatch"):
        load_bundle(copy)


def test_what_only_names_a_network_may_be_anything(copy: Path, bundle_folder: Path, memes: list[PreparedMeme]) -> None:
    """Were it passed on to transformers, the number of labels would be a dictionary of so many words."""
    edit_config(copy, lambda content: content["model"]["clip"].update(num_labels=2**31, return_dict=False))
    assert TorchPredictor.from_folder(copy).logits(memes) == TorchPredictor.from_folder(bundle_folder).logits(memes)


def rewrite_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_config(folder, lambda content: content["sha256"].update({path.name: sha256}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e30])
def test_weights_that_are_no_numbers_of_a_network_are_named(copy: Path, value: float) -> None:
    name = "head.classifier.1.bias"
    rewrite_weights(copy, lambda tensors: tensors[name][3:4].fill_(value))
    with pytest.raises(BundleError, match=rf"the tensor {name} has values from .*; they must be numbers"):
        load_bundle(copy)


def test_tensors_that_are_missing_unknown_or_of_another_type_are_named(bundle_folder: Path, tmp_path: Path) -> None:
    name = "head.classifier.1.bias"
    changes: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
        f"lacks the tensor {name}": lambda tensors: tensors.pop(name),
        "has a tensor that the network lacks, more": lambda tensors: tensors.update(more=torch.zeros(1)),
        f"{name} is of type I64": lambda tensors: tensors.update({name: tensors[name].long()}),
    }
    for number, (message, change) in enumerate(changes.items()):
        copy = tmp_path / str(number)
        shutil.copytree(bundle_folder, copy)
        rewrite_weights(copy, change)
        with pytest.raises(BundleError, match=message):
            load_bundle(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"padding": {"strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 10**6,
                         "pad_type_id": 0, "pad_token": "x"}},
            "it pads or truncates",
        ),
        (
            {"added_tokens": [{"id": 10**6, "content": "warm", "single_word": False, "lstrip": False, "rstrip": False,
                               "normalized": True, "special": False}]},
            "is not a tokenizer|it has the token id",
        ),
        (
            {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}},
            "is not a tokenizer",
        ),
    ],
    ids=["padding", "added token", "broken regex"],
)  # fmt: skip
def test_a_tokenizer_that_does_not_fit_is_refused(copy: Path, change: dict[str, object], message: str) -> None:
    path = copy / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **change}), "utf-8")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_config(copy, lambda content: content["sha256"].update({path.name: sha256}))
    for read in (load_bundle, read_tokenizer):
        with pytest.raises(BundleError, match=message):
            read(copy)


def test_a_tokenizer_has_no_more_tokens_than_the_text_tower(copy: Path) -> None:
    edit_config(copy, lambda content: content["model"]["clip"]["text_config"].update(vocab_size=100))
    with pytest.raises(BundleError, match=r"it has the token id .*; the text tower has 100 tokens"):
        load_bundle(copy)


def test_a_config_that_is_no_file_is_not_opened(copy: Path) -> None:
    (copy / "config.json").unlink()
    os.mkfifo(copy / "config.json")
    with pytest.raises(BundleError, match=r"it has no config\.json"):
        load_bundle(copy)


def test_nested_json_is_refused(copy: Path) -> None:
    (copy / "config.json").write_text("[" * 100_000, "utf-8")
    with pytest.raises(BundleError, match=r"config\.json is not JSON"):
        load_bundle(copy)
    (copy / "report.json").write_text("{", "utf-8")
    with pytest.raises(BundleError, match=r"report\.json is not JSON"):
        read_report(copy)


def test_settings_check_themselves() -> None:
    with pytest.raises(ValueError, match="mean is 'e'; it must be a number"):
        ImageConfig(size=32, mean=tuple("evi"))  # type: ignore[arg-type]

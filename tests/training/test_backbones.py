"""Where a CLIP comes from: made from scratch, or read from a folder of the hub's layout; never half of one."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from memeguard.bundle_files import hash_file
from memeguard.config import CLIP_MEAN, CLIP_STD
from training.backbones import BackboneError, find_source, load_backbone, load_tokenizer
from training.backbones.trust import RECORD, check_first_seen
from training.backbones.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TEXTS = ["the quick brown fox", "the lazy dog"] * 3


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_HUB_OFFLINE=1 sets when the hub's library is imported."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def copy(clip_folder: Path, tmp_path: Path) -> Path:
    """A pretrained CLIP that a test may damage."""
    return shutil.copytree(clip_folder, tmp_path / "copy")


def edit_json(path: Path, **members: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **members}), "utf-8")


def test_tiny_learns_its_words_from_the_texts() -> None:
    backbone = load_backbone("tiny", TEXTS)
    assert not backbone.pretrained
    assert len(backbone.tokenizer.encode("the lazy fox", add_special_tokens=False).ids) == 3
    assert len(backbone.tokenizer.encode("zzz", add_special_tokens=False).ids) > 1
    assert backbone.tokenizer.to_str() == load_tokenizer("tiny", TEXTS).to_str()


def test_tiny_knows_every_byte() -> None:
    tokenizer = load_tokenizer("tiny", [])
    for text in ("\N{PILE OF POO}", "Ünïcødé", "\0", "漢字", ""):
        letters = text.lower().encode()
        assert len(tokenizer.encode(text, add_special_tokens=False).ids) == (len(letters) + 1 if letters else 0)


def test_tinys_parts_fit_each_other() -> None:
    backbone = load_backbone("tiny", TEXTS)
    config = backbone.clip.config
    assert config.text_config.vocab_size == backbone.tokenizer.get_vocab_size()
    assert config.text_config.max_position_embeddings == backbone.text.context_length == 77
    assert config.vision_config.image_size == backbone.image.size
    assert backbone.tokenizer.token_to_id("<|startoftext|>") == backbone.text.start_id
    assert backbone.tokenizer.token_to_id("<|endoftext|>") == backbone.text.end_id


def test_tiny_is_the_same_for_the_same_seed() -> None:
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(load_backbone("tiny", TEXTS).clip.visual_projection.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_folder_of_the_hubs_layout_is_read(clip_folder: Path) -> None:
    backbone = load_backbone(str(clip_folder), [])
    assert backbone.pretrained
    assert backbone.name == str(clip_folder)
    expected = load_file(clip_folder / "model.safetensors")
    assert all(torch.equal(backbone.clip.state_dict()[name], tensor) for name, tensor in expected.items())
    assert {parameter.dtype for parameter in backbone.clip.parameters()} == {torch.float32}


def test_a_folder_brings_its_own_preprocessing(clip_folder: Path) -> None:
    image = load_backbone(str(clip_folder), []).image
    assert (image.size, image.mean, image.std) == (48, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_preprocessing_that_says_nothing_of_mean_and_deviation_is_clips(copy: Path) -> None:
    (copy / "preprocessor_config.json").write_text("{}", "utf-8")
    image = load_backbone(str(copy), []).image
    assert (image.mean, image.std) == (CLIP_MEAN, CLIP_STD)


def test_a_folder_brings_its_own_tokenizer(clip_folder: Path) -> None:
    """Its end token counts, not the configuration's wrong ``eos_token_id: 2``."""
    backbone = load_backbone(str(clip_folder), ["a text that is not looked at"])
    vocabulary = json.loads((clip_folder / "vocab.json").read_text("utf-8"))
    assert backbone.tokenizer.encode("Cat", add_special_tokens=False).ids == [vocabulary["cat</w>"]]
    assert backbone.text.start_id == vocabulary["<|startoftext|>"]
    assert backbone.text.end_id == vocabulary["<|endoftext|>"]
    assert backbone.text.context_length == 77


def test_a_tokenizer_that_would_cut_or_pad_does_neither(copy: Path) -> None:
    tokenizer = load_tokenizer(str(copy), [])
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=5)
    tokenizer.save(str(copy / "tokenizer.json"))
    tokenizer = load_tokenizer(str(copy), [])
    assert len(tokenizer.encode("cat " * 100, add_special_tokens=False).ids) == 100
    assert len(tokenizer.encode("cat", add_special_tokens=False).ids) == 1


def test_weights_of_half_precision_are_read_in_full(copy: Path) -> None:
    path = copy / "model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})
    edit_json(copy / "config.json", dtype="float16")
    clip = load_backbone(str(copy), []).clip
    assert {parameter.dtype for parameter in clip.parameters()} == {torch.float32}


def refusal_of(name: object) -> str:
    with pytest.raises(BackboneError) as caught:
        load_backbone(str(name), [])
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"backbone {name} ")
    return message


def test_a_pickle_is_never_read(copy: Path) -> None:
    """A .bin file may run code when it is loaded."""
    weights = load_file(copy / "model.safetensors")
    torch.save(weights, copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    assert "no file named model.safetensors" in refusal_of(copy)


@pytest.mark.parametrize("name", ["/no/such/folder", "not a name", "a/b/c", "../x", "@main", ""])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(name: str) -> None:
    assert "there is no such folder, and it is not a hub id: " in refusal_of(name)


def test_a_folder_that_is_no_clip_is_refused(copy: Path) -> None:
    edit_json(copy / "config.json", model_type="vit")
    assert refusal_of(copy).startswith(f"backbone {copy} is a 'vit'; it must be one of clip, ")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "config.json" in refusal_of(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_missing_or_damaged_file_is_refused(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    refusal_of(copy)
    (copy / name).unlink()
    if name != "preprocessor_config.json":
        assert name in refusal_of(copy)


def test_without_a_preprocessing_it_is_clips(copy: Path) -> None:
    (copy / "preprocessor_config.json").unlink()
    image = load_backbone(str(copy), []).image
    assert (image.size, image.mean, image.std) == (48, CLIP_MEAN, CLIP_STD)


def test_a_preprocessing_within_a_processors_comes_first(copy: Path) -> None:
    content = {"image_processor": {"image_mean": [0.7, 0.8, 0.9], "image_std": [1, 1, 1]}}
    (copy / "processor_config.json").write_text(json.dumps(content), "utf-8")
    image = load_backbone(str(copy), []).image
    assert (image.mean, image.std) == ((0.7, 0.8, 0.9), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    "members",
    [
        {"image_mean": "evil"},
        {"image_mean": [0.1, 0.2]},
        {"image_mean": [0.1, 0.2, float("nan")]},
        {"image_mean": [0.1, 0.2, True]},
        {"image_std": [0.1, 0.2, 0]},
        {"image_std": None},
    ],
)
def test_a_preprocessing_of_other_than_numbers_is_refused(copy: Path, members: dict[str, Any]) -> None:
    edit_json(copy / "preprocessor_config.json", **members)
    (name,) = members
    assert f"{name} is " in refusal_of(copy)


def test_a_backbone_says_which_weights_it_has(copy: Path) -> None:
    source = load_backbone(str(copy), []).source
    assert source == find_source(str(copy))
    assert (source.name, source.commit) == (str(copy), None)
    assert source.weights_sha256 == hash_file(copy / "model.safetensors")
    assert load_backbone("tiny", TEXTS).source == find_source("tiny") == ("tiny", None, None)


def test_a_folder_with_code_is_read_without_running_it(copy: Path) -> None:
    """Nor does anything else that a configuration may name: quantizers, kernels, adapters on another backbone."""
    (copy / "code.py").write_text("raise SystemExit('it ran')", "utf-8")
    edit_json(
        copy / "config.json",
        auto_map={"AutoConfig": "code.Config", "AutoModel": "code.Model"},
        quantization_config={"quant_method": "gptq", "bits": 4},
        attn_implementation="nobody/kernel",
        _attn_implementation="nobody/kernel",
    )
    edit_json(copy / "tokenizer_config.json", auto_map={"AutoTokenizer": ["code.Tokenizer", None]})
    (copy / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "nobody/nothing"}), "utf-8")
    clip = load_backbone(str(copy), []).clip
    assert clip.config._attn_implementation == "sdpa"
    assert torch.equal(clip.visual_projection.weight, load_file(copy / "model.safetensors")["visual_projection.weight"])


def test_a_pipe_in_the_place_of_weights_is_not_opened(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    os.mkfifo(copy / "model.safetensors")
    assert "no file named model.safetensors" in refusal_of(copy)


def test_every_record_of_first_seen_weights_is_kept(tmp_path: Path) -> None:
    """Of several processes that load at once, too."""
    weights = [Weights((), f"{number:064x}", number) for number in range(40)]

    def check(one: Weights) -> None:
        check_first_seen(tmp_path, "test/clip", f"{one.num_bytes:040x}", one)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(check, weights))
    assert len(json.loads((tmp_path / RECORD).read_text("utf-8"))) == 40
    with pytest.raises(BackboneError, match=r"has other weights than before: their sha256 is f{64}, on .+ 0{63}7"):
        check_first_seen(tmp_path, "test/clip", f"{7:040x}", Weights((), "f" * 64, 7))


@pytest.mark.parametrize("content", ["", "[]", '{"a@b": {}}', '{"a@b": {"sha256": 1}}'])
def test_a_damaged_record_of_first_seen_weights_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD).write_text(content, "utf-8")
    with pytest.raises(BackboneError, match=f"{RECORD}, which remembers the weights of backbones, is damaged"):
        check_first_seen(tmp_path, "a", "b", Weights((), "f" * 64, 1))


def test_where_nothing_can_be_recorded_a_warning_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    check_first_seen(tmp_path / "file", "a", "b", Weights((), "f" * 64, 1))
    assert "warning: the weights of a@b are not recorded in " in capsys.readouterr().err


def test_no_source_lets_transformers_run_code_or_ask_the_hub() -> None:
    calls = [call for path in git_files("*.py") for call in from_pretrained_calls(path)]
    assert len(calls) >= 6
    assert not [where for where, settings in calls if settings.get("trust_remote_code") is not False]
    assert not [where for where, settings in calls if settings.get("local_files_only") is not True]


def git_files(pattern: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if not name.startswith("tests/")]


def from_pretrained_calls(path: Path) -> Iterator[tuple[str, dict[str | None, Any]]]:
    """Where the file calls it, and the constants among the call's named arguments."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "from_pretrained":
            settings = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
            yield f"{path}:{node.lineno}", settings


def test_a_folder_without_a_tokenizer_is_refused(copy: Path) -> None:
    """Transformers makes up an empty one, to which all captions are the same."""
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (copy / name).unlink()
    assert "has no tokenizer: vocab.json and merges.txt, or tokenizer.json, are missing" in refusal_of(copy)


def test_a_folder_with_one_tower_is_refused(copy: Path) -> None:
    """Transformers makes up the other one, with random weights."""
    path = copy / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(path).items() if "text" not in name}
    save_file(kept, path, metadata={"format": "pt"})
    assert "lacks 21 of its weights, such as text_model." in refusal_of(copy)


@pytest.mark.parametrize("hidden_size", [33, 64])
def test_a_configuration_that_does_not_fit_the_weights_is_refused(copy: Path, hidden_size: int) -> None:
    config = json.loads((copy / "config.json").read_text("utf-8"))
    edit_json(copy / "config.json", vision_config={**config["vision_config"], "hidden_size": hidden_size})
    refusal_of(copy)

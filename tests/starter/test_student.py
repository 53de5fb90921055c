"""The student speaks its teacher's words, begins with its teacher's weights, and is read as any CLIP is."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModel, CLIPModel

from memeguard.captions import CaptionTokenizer
from memeguard.config import CLIP_MEAN, CLIP_STD, TextConfig
from starter import student as student_module
from starter.student import END, PICTURE_SIZE, START, UNKNOWN, Student, make_student, save_student
from starter.teachers import TEXT_DIM, minilm_folder
from tests.starter.conftest import WORDS
from training.backbones import load_backbone

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn
    from transformers import BertModel

# The square bracket is unknown, for the teacher's special tokens begin with it.
PRINTABLE = [character for character in string.printable if character.isprintable() and character not in " ["]


@pytest.fixture(scope="module")
def student(teachers: Path) -> Student:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make_student(teachers, WORDS)


@pytest.fixture(scope="module")
def teacher(teachers: Path) -> BertModel:
    return AutoModel.from_pretrained(minilm_folder(teachers))


@pytest.fixture(scope="module")
def original(teachers: Path) -> Tokenizer:
    """The teacher's tokenizer; it neither cuts nor pads here."""
    tokenizer = Tokenizer.from_file(str(minilm_folder(teachers) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@pytest.fixture
def saved(student: Student, tmp_path: Path) -> Path:
    save_student(student, tmp_path / "out" / "compact")
    return tmp_path / "out" / "compact"


def pieces_of(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text, add_special_tokens=False).tokens


@pytest.mark.parametrize("text", [*WORDS[:3], "The CAT's mat!", "café \N{EM DASH} cat", "unknownword", "12 cats"])
def test_the_student_reads_the_teachers_pieces(student: Student, original: Tokenizer, text: str) -> None:
    expected = [piece if piece.isascii() else UNKNOWN for piece in pieces_of(original, text)]
    assert pieces_of(student.tokenizer, text) == expected


@pytest.mark.parametrize("character", PRINTABLE)
def test_no_printable_character_is_unknown(student: Student, character: str) -> None:
    for text in (character, f"x{character}", f"{character}x", f"cat{character}mat"):
        assert UNKNOWN not in pieces_of(student.tokenizer, text)


def test_long_captions_are_neither_cut_nor_padded(student: Student) -> None:
    assert pieces_of(student.tokenizer, "cat " * 100) == ["cat"] * 100
    assert pieces_of(student.tokenizer, "cat") == ["cat"]


def test_special_tokens_come_first(student: Student) -> None:
    assert [student.tokenizer.id_to_token(number) for number in range(3)] == [START, END, UNKNOWN]
    pieces = student.tokenizer.get_vocab()
    assert sorted(pieces.values()) == list(range(len(pieces)))
    assert not {"[CLS]", "[SEP]", "[PAD]", "[MASK]"} & pieces.keys()


def test_a_caption_that_spells_the_end_does_not_end_there(student: Student) -> None:
    words = student.clip.config.text_config
    config = TextConfig(context_length=77, start_id=words.bos_token_id, end_id=words.eos_token_id)
    (chunk,) = CaptionTokenizer(student.tokenizer, config).encode(f"cat {END} mat {START}")
    assert (chunk[0], chunk[-1]) == (student.tokenizer.token_to_id(START), student.tokenizer.token_to_id(END))
    assert not {chunk[0], chunk[-1], student.tokenizer.token_to_id(UNKNOWN)} & set(chunk[1:-1])


def test_a_small_vocabulary_keeps_characters_common_pieces_and_what_the_texts_need(
    teachers: Path, original: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    characters = {piece for piece in original.get_vocab() if piece.isascii() and len(piece.removeprefix("##")) == 1}
    monkeypatch.setattr(student_module, "_NUM_COMMON", 10)
    monkeypatch.setattr(student_module, "NUM_PIECES", 3 + len(characters) + 10 + 2)
    rare = ["zebras", "quaver"]
    tokenizer = make_student(teachers, ["the " * 20 + word for word in rare]).tokenizer
    assert tokenizer.get_vocab_size() == student_module.NUM_PIECES
    assert all(pieces_of(tokenizer, word) == [word] for word in rare)
    ids = original.get_vocab()
    words = sorted((piece for piece in ids if piece.isascii() and piece[0] != "["), key=ids.__getitem__)
    common = [piece for piece in words if piece not in characters]
    assert set(common[:10]) <= tokenizer.get_vocab().keys()
    assert len(set(common[10:]) & tokenizer.get_vocab().keys()) <= 3


def assert_same(ours: nn.Module, theirs: nn.Module) -> None:
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name


def test_four_layers_begin_as_four_of_the_teachers(student: Student, teacher: BertModel) -> None:
    text = student.clip.text_model
    before = teacher.embeddings.LayerNorm
    assert len(text.encoder.layers) == 4
    for layer, number in zip(text.encoder.layers, (0, 1, 3, 5), strict=True):
        source = teacher.encoder.layer[number]
        assert_same(layer.layer_norm1, before)
        assert_same(layer.self_attn.q_proj, source.attention.self.query)
        assert_same(layer.self_attn.k_proj, source.attention.self.key)
        assert_same(layer.self_attn.v_proj, source.attention.self.value)
        assert_same(layer.self_attn.out_proj, source.attention.output.dense)
        assert_same(layer.layer_norm2, source.attention.output.LayerNorm)
        before = source.output.LayerNorm
    assert_same(text.final_layer_norm, before)
    assert torch.equal(student.clip.text_projection.weight, torch.eye(TEXT_DIM))


def test_the_strongest_hidden_units_are_taken_over(student: Student, teacher: BertModel) -> None:
    for layer, number in zip(student.clip.text_model.encoder.layers, (0, 1, 3, 5), strict=True):
        source = teacher.encoder.layer[number]
        into, out_of = source.intermediate.dense, source.output.dense
        strength = into.weight.norm(dim=1) * out_of.weight.norm(dim=0)
        kept = (strength >= strength.sort(descending=True).values[1023]).nonzero()[:, 0]
        assert len(kept) == layer.mlp.fc1.out_features == 1024
        assert torch.equal(layer.mlp.fc1.weight, into.weight[kept])
        assert torch.equal(layer.mlp.fc1.bias, into.bias[kept])
        assert torch.equal(layer.mlp.fc2.weight, out_of.weight[:, kept])
        assert torch.equal(layer.mlp.fc2.bias, out_of.bias)


def test_words_and_places_begin_as_the_teachers(student: Student, teacher: BertModel, original: Tokenizer) -> None:
    ours, theirs = student.clip.text_model.embeddings, teacher.embeddings
    same = {START: "[CLS]", END: "[SEP]", UNKNOWN: "[UNK]", "cat": "cat", "##s": "##s", "!": "!"}
    for piece, source in same.items():
        row = theirs.word_embeddings.weight[original.token_to_id(source)] + theirs.token_type_embeddings.weight[0]
        assert torch.equal(ours.token_embedding.weight[student.tokenizer.token_to_id(piece)], row), piece
    assert torch.equal(ours.position_embedding.weight, theirs.position_embeddings.weight[:77])


def test_the_student_is_saved_in_the_hubs_layout(student: Student, saved: Path) -> None:
    backbone = load_backbone(str(saved), [])
    assert backbone.pretrained
    assert (backbone.image.size, backbone.image.mean, backbone.image.std) == (PICTURE_SIZE, CLIP_MEAN, CLIP_STD)
    ends = (student.tokenizer.token_to_id(START), student.tokenizer.token_to_id(END))
    assert (backbone.text.start_id, backbone.text.end_id) == ends
    assert backbone.text.context_length == 77
    for text in (*WORDS[:3], "The CAT's!", f"cat {END}", "cat " * 100):
        captions = [CaptionTokenizer(tokenizer, backbone.text) for tokenizer in (student.tokenizer, backbone.tokenizer)]
        assert captions[0].encode(text) == captions[1].encode(text)


def test_weights_are_saved_in_half_precision(student: Student, saved: Path) -> None:
    tensors = load_file(saved / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    loaded = load_backbone(str(saved), []).clip.state_dict()
    assert loaded.keys() == student.clip.state_dict().keys()
    for name, tensor in student.clip.state_dict().items():  # rounded where they are, too
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, loaded[name]), name


def test_any_program_that_loads_a_clip_loads_the_student(saved: Path) -> None:
    clip, found = CLIPModel.from_pretrained(saved, output_loading_info=True)
    assert not found["missing_keys"]
    assert clip.config.text_config.hidden_act == clip.config.vision_config.hidden_act == "gelu"
    preprocessing = json.loads((saved / "preprocessor_config.json").read_text("utf-8"))
    assert preprocessing["size"] == {"height": PICTURE_SIZE, "width": PICTURE_SIZE}
    assert preprocessing["do_center_crop"] is False

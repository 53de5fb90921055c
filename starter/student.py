"""The compact CLIP: its architecture, its vocabulary, and its initial weights from the sentence teacher."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import nn
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from memeguard.config import CLIP_MEAN, CLIP_STD
from starter.teachers import TEXT_DIM, load_minilm, minilm_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from torch import Tensor
    from transformers import BertModel

PICTURE_SIZE: Final = 112
START, END, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "[UNK]"
NUM_PIECES: Final = 8192
_NUM_COMMON: Final = 5500  # of BERT's pieces, which are sorted by frequency; the others are the ones texts need most
_LAYERS: Final = (0, 1, 3, 5)  # of the teacher's six; the student's four start as copies of them
_TEXT_FFN: Final = 1024


class Student(NamedTuple):
    """A CLIP and its tokenizer."""

    clip: CLIPModel
    tokenizer: Tokenizer


def make_student(teachers: Path, texts: Iterable[str]) -> Student:
    """Make a CLIP whose text tower starts as a part of the sentence teacher, and whose picture tower starts random."""
    teacher = load_minilm(teachers)
    original = Tokenizer.from_file(str(minilm_folder(teachers) / "tokenizer.json"))
    tokenizer = _trim_tokenizer(original, texts)
    tower = {"projection_dim": TEXT_DIM, "hidden_act": "gelu"}
    config = CLIPConfig(
        text_config={
            **tower,
            "hidden_size": TEXT_DIM,
            "intermediate_size": _TEXT_FFN,
            "num_attention_heads": 12,
            "num_hidden_layers": len(_LAYERS),
            "vocab_size": tokenizer.get_vocab_size(),
            "max_position_embeddings": 77,
            "bos_token_id": tokenizer.token_to_id(START),
            "eos_token_id": tokenizer.token_to_id(END),
            "pad_token_id": tokenizer.token_to_id(END),
        },
        vision_config={
            **tower,
            "hidden_size": 192,
            "intermediate_size": 768,
            "num_attention_heads": 6,
            "num_hidden_layers": 6,
            "image_size": PICTURE_SIZE,
            "patch_size": 16,
        },
        projection_dim=TEXT_DIM,
    )
    clip = CLIPModel(config)
    clip.set_attn_implementation("eager")  # torch's fused attention takes three times as long backwards on a CPU
    _take_over(clip, teacher, original, tokenizer)
    return Student(clip, tokenizer)


def _trim_tokenizer(original: Tokenizer, texts: Iterable[str]) -> Tokenizer:
    """Reduce the teacher's word pieces to ASCII: all characters, common pieces, and those ``texts`` need most."""
    original.no_truncation()
    original.no_padding()
    # Without special tokens such as "[CLS]", and without "[" itself, which becomes unknown.
    ids = {piece: number for piece, number in original.get_vocab().items() if piece.isascii() and piece[0] != "["}
    characters = {piece for piece in ids if len(piece.removeprefix("##")) == 1}
    by_rank = sorted(ids.keys() - characters, key=ids.__getitem__)
    counts: Counter[str] = Counter()
    for encoding in original.encode_batch(list(texts), add_special_tokens=False):
        counts.update(encoding.tokens)
    rare = sorted(by_rank[_NUM_COMMON:], key=lambda piece: (-counts[piece], ids[piece]))
    num_rare = NUM_PIECES - 3 - len(characters) - _NUM_COMMON
    chosen = [START, END, UNKNOWN, *sorted(characters), *by_rank[:_NUM_COMMON], *rare[:num_rare]]
    tokenizer = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(chosen)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([START, END])
    return tokenizer


@torch.no_grad()
def _take_over(clip: CLIPModel, teacher: BertModel, original: Tokenizer, tokenizer: Tokenizer) -> None:
    """Initialize the text tower with some layers of ``teacher``.

    BERT normalizes after each sum and attends in both directions; CLIP normalizes before each layer and is causal. So
    the copied weights are a good start, but not equivalent.
    """
    embeddings, text = teacher.embeddings, clip.text_model
    special = {START: "[CLS]", END: "[SEP]"}
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    rows = torch.tensor([original.token_to_id(special.get(piece, piece)) for piece, _ in pieces])
    text.embeddings.token_embedding.weight.copy_(
        embeddings.word_embeddings.weight[rows] + embeddings.token_type_embeddings.weight[0]
    )
    positions = text.embeddings.position_embedding.weight
    positions.copy_(embeddings.position_embeddings.weight[: len(positions)])
    before = embeddings.LayerNorm
    for layer, number in zip(text.encoder.layers, _LAYERS, strict=True):
        source = teacher.encoder.layer[number]
        _copy(layer.layer_norm1, before)
        _copy(layer.self_attn.q_proj, source.attention.self.query)
        _copy(layer.self_attn.k_proj, source.attention.self.key)
        _copy(layer.self_attn.v_proj, source.attention.self.value)
        _copy(layer.self_attn.out_proj, source.attention.output.dense)
        _copy(layer.layer_norm2, source.attention.output.LayerNorm)
        kept = _strongest(source.intermediate.dense.weight, source.output.dense.weight)
        layer.mlp.fc1.weight.copy_(source.intermediate.dense.weight[kept])
        layer.mlp.fc1.bias.copy_(source.intermediate.dense.bias[kept])
        layer.mlp.fc2.weight.copy_(source.output.dense.weight[:, kept])
        layer.mlp.fc2.bias.copy_(source.output.dense.bias)
        before = source.output.LayerNorm
    _copy(text.final_layer_norm, before)
    clip.text_projection.weight.copy_(torch.eye(TEXT_DIM))


def _copy(target: nn.Linear | nn.LayerNorm, source: nn.Linear | nn.LayerNorm) -> None:
    target.weight.copy_(source.weight)
    target.bias.copy_(source.bias)


def _strongest(into_FD: Tensor, out_of_DF: Tensor) -> Tensor:
    """Select the hidden units [``_TEXT_FFN``] with the largest product of the norms of their weights."""
    strength_F = into_FD.norm(dim=1) * out_of_DF.norm(dim=0)
    kept: Tensor = strength_F.topk(_TEXT_FFN).indices.sort().values
    return kept


def save_student(student: Student, folder: Path) -> None:
    """Write the CLIP in the hub's layout and in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    student.clip.half().save_pretrained(folder)
    student.clip.float()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=student.tokenizer, bos_token=START, eos_token=END, unk_token=UNKNOWN, pad_token=END
    )
    wrapped.save_pretrained(folder)
    preprocessing = {
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        "size": {"height": PICTURE_SIZE, "width": PICTURE_SIZE},
        "image_processor_type": "CLIPImageProcessor",
        "do_center_crop": False,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=2) + "\n", "utf-8")

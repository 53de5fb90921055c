"""Small "pretrained" backbones of each family in the hub's layout, with random weights and tokenizers made in code."""

from __future__ import annotations

import itertools
import json
import re
import string
from typing import TYPE_CHECKING, Any, Final

import torch
import transformers
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import GemmaTokenizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE: Final = 32  # of a picture
CONTEXT: Final = 32  # tokens of a text, where a family's files say it
_TOWER: Final = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
_PICTURE: Final = {**_TOWER, "image_size": SIZE, "patch_size": 8}
_LETTERS: Final = string.ascii_letters + string.digits + string.punctuation
_CYRILLIC: Final = [chr(number) for number in range(0x430, 0x450)]
_PAIRS: Final = ["".join(pair) for pair in itertools.product(string.ascii_lowercase, repeat=2)]
_SPECIAL: Final = ["<s>", "<pad>", "</s>", "<unk>"]


def make_siglip(folder: Path) -> None:
    """SigLIP: lower case without punctuation, an end token, padded with it; bicubic."""
    pieces = ["<unk>", "</s>", "\u2581", *string.ascii_lowercase, *string.digits, *_PAIRS]
    tokenizer = _unigram(pieces, unk_id=0)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(Regex(f"[{re.escape(string.punctuation)}]"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    _save_model(folder, "siglip", len(pieces), text={"max_position_embeddings": CONTEXT, "projection_size": 32})
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    _write_tokenizer_config(folder, "SiglipTokenizer", **special, model_max_length=CONTEXT)
    _write_squash(folder, resample=3, halves=True)


def make_siglip2(folder: Path) -> None:
    """SigLIP 2 of fixed resolution: a SigLIP with the tokenizer of Gemma, which keeps capitals; bilinear."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", *_LETTERS, "th", "the"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    settings = {"add_bos_token": False, "add_eos_token": True, "padding_side": "right", "model_max_length": CONTEXT}
    _save_model(folder, "siglip", len(tokens), text={"max_position_embeddings": CONTEXT, "projection_size": 32})
    GemmaTokenizer(vocab=vocabulary, merges=[("t", "h"), ("th", "e")], **settings).save_pretrained(folder)
    _write_squash(folder, resample=2, halves=True)


def make_metaclip2(folder: Path) -> None:
    """MetaCLIP 2: CLIP's towers, the tokenizer of XLM-RoBERTa."""
    num = _write_roberta_tokenizer(folder, max_length=CONTEXT)
    text = {"max_position_embeddings": CONTEXT, "eos_token_id": 2, "projection_dim": 24}
    _save_model(folder, "metaclip_2", num, text=text, projection_dim=24)
    _write_squash(folder, resample=3, halves=False)


def make_altclip(folder: Path) -> None:
    """AltCLIP: XLM-RoBERTa beside CLIP's picture tower."""
    num = _write_roberta_tokenizer(folder, max_length=CONTEXT)
    text = {"max_position_embeddings": CONTEXT + 6, "project_dim": 20}
    _save_model(folder, "altclip", num, text=text, projection_dim=24)
    _write_squash(folder, resample=3, halves=False)


def make_chinese_clip(folder: Path) -> None:
    """Chinese-CLIP: BERT, whose words are in a vocab.txt, beside CLIP's picture tower."""
    num = _write_bert_tokenizer(folder, max_length=CONTEXT)
    _save_model(folder, "chinese_clip", num, text={"max_position_embeddings": CONTEXT + 4}, projection_dim=24)
    _write_squash(folder, resample=3, halves=False)


def make_multilingual_clip(folder: Path) -> None:
    """XLM-RoBERTa and CLIP's picture tower, joined."""
    num = _write_roberta_tokenizer(folder, max_length=CONTEXT)
    text = {"model_type": "xlm-roberta", "max_position_embeddings": CONTEXT + 6}
    _save_model(folder, "vision-text-dual-encoder", num, text=text, picture={"model_type": "clip_vision_model"})
    _write_squash(folder, resample=3, halves=False)


def make_vit_bert(folder: Path) -> None:
    """BERT and ViT, joined."""
    num = _write_bert_tokenizer(folder, max_length=CONTEXT)
    text = {"model_type": "bert", "max_position_embeddings": CONTEXT + 4}
    _save_model(folder, "vision-text-dual-encoder", num, text=text, picture={"model_type": "vit"})
    _write_squash(folder, resample=2, halves=True)


MAKERS: Final[dict[str, Callable[[Path], None]]] = {
    "siglip": make_siglip,
    "siglip2": make_siglip2,
    "metaclip_2": make_metaclip2,
    "altclip": make_altclip,
    "chinese_clip": make_chinese_clip,
    "multilingual": make_multilingual_clip,
    "vit-bert": make_vit_bert,
}


def _unigram(pieces: list[str], unk_id: int) -> Tokenizer:
    scores = [(piece, -1.0 - 1.0 / len(piece)) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=unk_id, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def _write_roberta_tokenizer(folder: Path, *, max_length: int) -> int:
    pieces = [*_SPECIAL, "\u2581", *_LETTERS, *_CYRILLIC, *_PAIRS, "<mask>"]
    tokenizer = _unigram(pieces, unk_id=3)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ("bos_token", "pad_token", "eos_token", "unk_token")
    special = {**dict(zip(names, _SPECIAL, strict=True)), "cls_token": "<s>", "sep_token": "</s>"}
    _write_tokenizer_config(folder, "XLMRobertaTokenizer", **special, model_max_length=max_length)
    return len(pieces)


def _write_bert_tokenizer(folder: Path, *, max_length: int) -> int:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_LETTERS, *(f"##{letter}" for letter in _LETTERS), *_PAIRS]
    words += ["中", "文"]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(words)) + "\n", "utf-8")
    _write_tokenizer_config(folder, "BertTokenizer", do_lower_case=True, model_max_length=max_length)
    return len(dict.fromkeys(words))


def _save_model(
    folder: Path,
    model_type: str,
    vocab_size: int,
    *,
    text: dict[str, Any],
    picture: dict[str, Any] | None = None,
    **settings: Any,
) -> None:
    towers = {
        "text_config": {**_TOWER, "vocab_size": vocab_size, **text},
        "vision_config": {**_PICTURE, **(picture or {})},
    }
    config = transformers.AutoConfig.for_model(model_type, **towers, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = transformers.AutoModel.from_config(config)
        for weight in model.parameters():  # transformers' own are so small that every text has the same feature
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)


def _write_tokenizer_config(folder: Path, kind: str, **settings: Any) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind, **settings}), "utf-8")


def _write_squash(folder: Path, *, resample: int, halves: bool) -> None:
    """Preprocessing that resizes to a square without cropping, as SigLIP's and Chinese-CLIP's files say."""
    content = {
        "image_processor_type": "SiglipImageProcessor" if halves else "CLIPImageProcessor",
        "size": {"height": SIZE, "width": SIZE},
        "do_center_crop": False,
        "resample": resample,
        **({"image_mean": [0.5] * 3, "image_std": [0.5] * 3} if halves else {}),
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(content), "utf-8")

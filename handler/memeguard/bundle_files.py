"""Read and check a bundle's files, except the weights: hashes, configuration and tokenizer.

Works without torch, because a worker with the OpenVINO runtime never builds the network in torch.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from memeguard.config import READABLE_VERSIONS, ModelConfig
from memeguard.errors import BundleError
from memeguard.regular_file import read_regular

if TYPE_CHECKING:
    from pathlib import Path

CONFIG, WEIGHTS, TOKENIZER, REPORT = "config.json", "model.safetensors", "tokenizer.json", "report.json"
BUNDLE_FILES = (CONFIG, WEIGHTS, TOKENIZER, REPORT)
# An archive's bundle also has the networks in OpenVINO's format, each with its constants, and the hashes of all.
OPENVINO_CHECKSUMS = "openvino/sha256.json"
OPENVINO_NETWORKS = ("openvino/image.xml", "openvino/text.xml", "openvino/head.xml")
OPENVINO_FILES = tuple(f"{name[:-3]}{ending}" for name in OPENVINO_NETWORKS for ending in ("xml", "bin"))
FORMAT = "memeguard-bundle"
MAX_WEIGHTS_BYTES = 16 << 30  # ten times the largest CLIP
_MAX_TOKENIZER_BYTES = 128 << 20  # a vocabulary of 250,000 tokens has 17 MB, MetaCLIP 2's of 900,000 has 60 MB
_MAX_JSON_BYTES = 64 << 20  # report.json of a thousand epochs has 1 MB
# Texts that a tokenizer must handle: empty, words, digits and signs, other scripts, emoji, one long word.
_PROBES = (
    "",
    "warm-up",
    "Hello, WORLD! 100% it's\n\t <|endoftext|>",
    "நீ é 日本 Ω",
    "\U0001f600\u200d\u2764",
    "x" * 300,
)


def read_model_config(directory: Path) -> ModelConfig:
    """Read the model's configuration from config.json; raise ``BundleError`` if that fails."""
    return ModelConfig.from_dict(_read_config(directory)["model"])


def read_tokenizer(directory: Path) -> Tokenizer:
    """Read the tokenizer; raise ``BundleError`` if it is missing, damaged, or does not fit the text tower."""
    check_files(directory, (TOKENIZER,))
    vocab_size = read_model_config(directory).read_backbone().text.vocab_size
    path = directory / TOKENIZER
    try:
        tokenizer = Tokenizer.from_str(read_regular(path, max_bytes=_MAX_TOKENIZER_BYTES).decode())
        check_tokenizer(tokenizer, vocab_size)
    except ValueError as error:
        raise BundleError(f"{path} cannot be used: {error}") from error
    except BaseException as error:
        # tokenizers raises Exception itself; a panic of its Rust code is a BaseException.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise BundleError(f"{path} is not a tokenizer: {error}") from error
        raise
    return tokenizer


def check_tokenizer(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Raise ``ValueError`` if the tokenizer gives ids that the text tower lacks, or not always the same ids."""
    if tokenizer.padding or tokenizer.truncation:
        raise ValueError("it pads or truncates, but captions are cut into chunks later")
    if getattr(tokenizer.model, "dropout", None):
        raise ValueError("it drops merges at random, so that the same caption would have several answers")
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    for text in _PROBES:
        largest = max(largest, *tokenizer.encode(text, add_special_tokens=False).ids, -1)
    if largest >= vocab_size:
        raise ValueError(f"it has the token id {largest}; the text tower has {vocab_size} tokens")


def read_report(directory: Path) -> dict[str, Any]:
    """Return the training report that was given to ``save_bundle``; empty if there was none."""
    path = directory / REPORT
    return _read_json(path) if path.is_file() else {}


def check_files(directory: Path, names: tuple[str, ...]) -> None:
    """Raise ``BundleError`` unless each of ``names`` exists and has its sha256 of config.json."""
    expected = _read_config(directory)["sha256"]
    check_hashes(directory, {name: expected[name] for name in names}, CONFIG)


def check_hashes(directory: Path, expected: dict[str, str], source: str) -> None:
    """Raise ``BundleError`` unless each file exists and has the expected sha256, which the file ``source`` gives."""
    for name, sha256 in expected.items():
        if not (directory / name).is_file():
            raise BundleError(f"bundle {directory} lacks {name}")
        if (size := (directory / name).stat().st_size) > MAX_WEIGHTS_BYTES:
            raise BundleError(f"{directory / name} has {size} bytes; the limit is {MAX_WEIGHTS_BYTES}")
        if (actual := hash_file(directory / name)) != sha256:
            raise BundleError(f"{directory / name} is damaged: its sha256 is {actual}, {source} says {sha256}")


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` as indented JSON."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG
    if not directory.is_dir():
        raise BundleError(f"bundle {directory} is not a folder")
    if not path.is_file():
        raise BundleError(f"{directory} is not a bundle: it has no {CONFIG}")
    content = _read_json(path)
    if content.get("format") != FORMAT:
        raise BundleError(f"{path} does not belong to a memeguard bundle (its member 'format' is not {FORMAT!r})")
    if type(version := content.get("format_version")) is not int or version not in READABLE_VERSIONS:
        *others, last = map(str, READABLE_VERSIONS)
        readable = f"{', '.join(others)} and {last}"
        raise BundleError(f"{path} has format version {version!r}; this code reads the versions {readable}")
    checksums = content.get("sha256")
    if not isinstance(checksums, dict) or not {WEIGHTS, TOKENIZER} <= checksums.keys():
        raise BundleError(f"{path} lacks the checksums of {WEIGHTS} and {TOKENIZER}")
    if not isinstance(content.get("model"), dict):
        raise BundleError(f"{path} lacks the member 'model'")
    return content


def _read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if the file holds another kind of value."""
    try:
        content = json.loads(read_regular(path, max_bytes=_MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    return content if isinstance(content, dict) else {}

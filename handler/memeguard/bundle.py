"""Write a classifier to a folder and read it back: config.json, model.safetensors, tokenizer.json.

Does not know how the classifier was trained or where it will be served. Nothing here unpickles.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

import memeguard
from memeguard.classifier import MemeClassifier
from memeguard.config import FORMAT_VERSION, READABLE_VERSIONS, ModelConfig
from memeguard.errors import BundleError

CONFIG, WEIGHTS, TOKENIZER, REPORT = "config.json", "model.safetensors", "tokenizer.json", "report.json"
BUNDLE_FILES = (CONFIG, WEIGHTS, TOKENIZER, REPORT)
_FORMAT = "memeguard-bundle"


class Bundle(NamedTuple):
    """A classifier in evaluation mode, on the CPU, and its tokenizer."""

    classifier: MemeClassifier
    tokenizer: Tokenizer


def save_bundle(
    bundle: Bundle, directory: Path, *, report: dict[str, Any] | None = None, dtype: torch.dtype = torch.float32
) -> None:
    """Write ``bundle`` to the new folder ``directory``; it appears complete or not at all.

    Args:
        bundle: What to write.
        directory: Must not exist, or be empty.
        report: What training measured; kept as report.json for people and for the card.
        dtype: In which the weights are written, float32 or float16; ``load_bundle`` gives float32 in any case.

    Raises:
        BundleError: ``directory`` holds something already, or the disk is full.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise BundleError(f"{directory} exists already; a bundle is never overwritten")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as scratch:
        staging = Path(scratch) / directory.name
        staging.mkdir()
        state = bundle.classifier.state_dict()
        tensors = {
            name: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
            for name, tensor in state.items()
        }
        try:
            save_file(tensors, staging / WEIGHTS)
            (staging / WEIGHTS).chmod(0o644)  # safetensors makes it readable to its owner alone
            bundle.tokenizer.save(str(staging / TOKENIZER))
        except Exception as error:  # what safetensors and tokenizers make of a full disk is no OSError
            raise BundleError(f"{directory} cannot be written: {error}") from error
        content = {
            "format": _FORMAT,
            "format_version": FORMAT_VERSION,
            "memeguard_version": memeguard.__version__,
            "sha256": {name: hash_file(staging / name) for name in (WEIGHTS, TOKENIZER)},
            "model": bundle.classifier.config.to_dict(),
        }
        _write_json(staging / CONFIG, content)
        if report is not None:
            _write_json(staging / REPORT, report)
        if directory.exists():
            directory.rmdir()
        staging.rename(directory)


def load_bundle(directory: Path) -> Bundle:
    """Read the bundle in ``directory``.

    Raises:
        BundleError: A file is missing, damaged (its sha256 differs), or not of a memeguard bundle of this format.
    """
    content = _read_config(directory)
    for name, expected in content["sha256"].items():
        if not (directory / name).is_file():
            raise BundleError(f"bundle {directory} lacks {name}")
        if (actual := hash_file(directory / name)) != expected:
            raise BundleError(f"{directory / name} is damaged: its sha256 is {actual}, config.json says {expected}")
    config = ModelConfig.from_dict(content["model"])
    try:
        classifier = MemeClassifier(config)
    except Exception as error:  # transformers checks "clip" and has exceptions of its own
        raise BundleError(f"{directory / CONFIG} does not describe a model that can be built: {error}") from error
    try:
        classifier.load_state_dict(load_file(directory / WEIGHTS))
        tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
    except SafetensorError as error:
        raise BundleError(f"{directory / WEIGHTS} is not a safetensors file: {error}") from error
    except RuntimeError as error:
        raise BundleError(f"{directory / WEIGHTS} does not fit config.json: {error}") from error
    except Exception as error:  # tokenizers raises bare Exception
        raise BundleError(f"{directory / TOKENIZER} is not a tokenizer: {error}") from error
    return Bundle(classifier.eval(), tokenizer)


def read_report(directory: Path) -> dict[str, Any]:
    """What training measured, as ``save_bundle`` was given it; empty if it was given nothing."""
    path = directory / REPORT
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return report


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG
    if not directory.is_dir():
        raise BundleError(f"bundle {directory} is not a folder")
    if not path.is_file():
        raise BundleError(f"{directory} is not a bundle: it has no {CONFIG}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise BundleError(f"{path} does not belong to a memeguard bundle (its member 'format' is not {_FORMAT!r})")
    if (version := content.get("format_version")) not in READABLE_VERSIONS:
        readable = " and ".join(map(str, READABLE_VERSIONS))
        raise BundleError(f"{path} has format version {version!r}; this code reads the versions {readable}")
    checksums = content.get("sha256")
    if not isinstance(checksums, dict) or not {WEIGHTS, TOKENIZER} <= checksums.keys():
        raise BundleError(f"{path} lacks the checksums of {WEIGHTS} and {TOKENIZER}")
    if not isinstance(content.get("model"), dict):
        raise BundleError(f"{path} lacks the member 'model'")
    return content


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

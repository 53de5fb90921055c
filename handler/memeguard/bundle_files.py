"""The files of a bundle, but for the network: which there are, whether they are whole, configuration and tokenizer.

Does not know torch: a worker whose runtime is another one never builds the network in it.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from memeguard.config import READABLE_VERSIONS, ModelConfig
from memeguard.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

CONFIG, WEIGHTS, TOKENIZER, REPORT = "config.json", "model.safetensors", "tokenizer.json", "report.json"
BUNDLE_FILES = (CONFIG, WEIGHTS, TOKENIZER, REPORT)
# Beside them, in an archive: the networks as OpenVINO reads them, each with its constants, and the hashes of all.
OPENVINO_CHECKSUMS = "openvino/sha256.json"
OPENVINO_NETWORKS = ("openvino/image.xml", "openvino/text.xml", "openvino/head.xml")
OPENVINO_FILES = tuple(f"{name[:-3]}{ending}" for name in OPENVINO_NETWORKS for ending in ("xml", "bin"))
FORMAT = "memeguard-bundle"


def read_model_config(directory: Path) -> ModelConfig:
    """What config.json says of the model; raises ``BundleError``."""
    return ModelConfig.from_dict(_read_config(directory)["model"])


def read_tokenizer(directory: Path) -> Tokenizer:
    """The bundle's tokenizer; raises ``BundleError`` if it is missing or damaged."""
    check_files(directory, (TOKENIZER,))
    try:
        return Tokenizer.from_file(str(directory / TOKENIZER))
    except Exception as error:  # tokenizers raises bare Exception
        raise BundleError(f"{directory / TOKENIZER} is not a tokenizer: {error}") from error


def read_report(directory: Path) -> dict[str, Any]:
    """What training measured, as ``save_bundle`` was given it; empty if it was given nothing."""
    path = directory / REPORT
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return report


def check_files(directory: Path, names: tuple[str, ...]) -> None:
    """Raise ``BundleError`` unless each of ``names`` is there and has the sha256 that config.json says."""
    expected = _read_config(directory)["sha256"]
    check_hashes(directory, {name: expected[name] for name in names}, CONFIG)


def check_hashes(directory: Path, expected: dict[str, str], source: str) -> None:
    """Raise ``BundleError`` unless each file is there and has its sha256, which the file ``source`` says."""
    for name, sha256 in expected.items():
        if not (directory / name).is_file():
            raise BundleError(f"bundle {directory} lacks {name}")
        if (actual := hash_file(directory / name)) != sha256:
            raise BundleError(f"{directory / name} is damaged: its sha256 is {actual}, {source} says {sha256}")


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` for people to read."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


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
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BundleError(f"{path} does not belong to a memeguard bundle (its member 'format' is not {FORMAT!r})")
    if (version := content.get("format_version")) not in READABLE_VERSIONS:
        readable = " and ".join(map(str, READABLE_VERSIONS))
        raise BundleError(f"{path} has format version {version!r}; this code reads the versions {readable}")
    checksums = content.get("sha256")
    if not isinstance(checksums, dict) or not {WEIGHTS, TOKENIZER} <= checksums.keys():
        raise BundleError(f"{path} lacks the checksums of {WEIGHTS} and {TOKENIZER}")
    if not isinstance(content.get("model"), dict):
        raise BundleError(f"{path} lacks the member 'model'")
    return content

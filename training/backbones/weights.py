"""Read the weights of a backbone: safetensors only, in one file or several, identified by their SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import transformers
from huggingface_hub.utils import are_progress_bars_disabled
from safetensors import SafetensorError
from safetensors.torch import load_file

from memeguard.backbone_config import FAMILIES
from memeguard.bundle_files import hash_file
from memeguard.towers import find_class
from training.backbones.places import BackboneError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transformers import PreTrainedConfig, PreTrainedModel

    from training.backbones.places import Place

_WEIGHTS: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_SHARD: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}\.safetensors")  # a file name, not a path
_MAX_SHARDS: Final = 100
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Weights(NamedTuple):
    """Files of safetensors, and what identifies them.

    Attributes:
        paths: Paths in the order of their names.
        sha256: SHA-256 of the file; if there are several, of the list of hashes and names as ``sha256sum`` prints it.
        num_bytes: Size of all files.
    """

    paths: tuple[Path, ...]
    sha256: str
    num_bytes: int


def find_weights(place: Place) -> Weights:
    """Find the safetensors of ``place``, and hash them.

    Raises:
        BackboneError: There are none, or a file has another hash than the hub said.
    """
    whole = place.find(_WEIGHTS, may_lack=True)
    paths = (whole,) if whole is not None else _find_shards(place)
    hashes = [hash_file(path) for path in paths]
    for path, sha256 in zip(paths, hashes, strict=True):
        _check_blob(place, path, sha256)
    listing = "".join(f"{sha256}  {path.name}\n" for path, sha256 in zip(paths, hashes, strict=True))
    sha256 = hashes[0] if whole is not None else hashlib.sha256(listing.encode()).hexdigest()
    return Weights(paths, sha256, sum(path.stat().st_size for path in paths))


def build_backbone(place: Place, config: PreTrainedConfig, weights: Weights) -> PreTrainedModel:
    """Build the backbone that ``config`` describes, in float32 and with these weights.

    Raises:
        BackboneError: They do not fit each other, or some are missing.
    """
    kind = find_class(FAMILIES[config.model_type].model)
    backbone: PreTrainedModel
    try:
        tensors = {name: tensor for path in weights.paths for name, tensor in load_file(path).items()}
        # With tensors and without a name, transformers looks neither in a folder nor on the hub.
        with _no_progress_bar():
            backbone, found = kind.from_pretrained(
                None,
                config=config,
                state_dict=tensors,
                dtype="float32",
                attn_implementation="sdpa",
                output_loading_info=True,
                local_files_only=True,
                trust_remote_code=False,
            )
    except SafetensorError as error:
        names = ", ".join(path.name for path in weights.paths)
        raise BackboneError(f"backbone {place.name} cannot be loaded: {names} is damaged: {error}") from error
    except Exception as error:  # torch and transformers raise many kinds
        reason = " ".join(str(error).split())
        raise BackboneError(f"backbone {place.name} cannot be loaded: {reason}") from error
    if missing := sorted(found["missing_keys"]):  # transformers would continue with random ones
        raise BackboneError(f"backbone {place.name} lacks {len(missing)} of its weights, such as {missing[0]}")
    backbone.config.name_or_path = ""  # a bundle must not reveal a path of the machine it was trained on
    return backbone


def _find_shards(place: Place) -> tuple[Path, ...]:
    index = place.find(_INDEX, may_lack=True)
    if index is None:
        place.find(_WEIGHTS)  # raises if the hub cannot be asked
        raise BackboneError(f"backbone {place.name} cannot be loaded: {place.explain_missing_weights()}")
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        are_names = 0 < len(names) <= _MAX_SHARDS and all(_SHARD.fullmatch(name) for name in names)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackboneError(f"backbone {place.name} cannot be loaded: {_INDEX} is damaged: {error!r}") from error
    if not are_names:
        raise BackboneError(
            f"backbone {place.name} cannot be loaded: {_INDEX} must list 1 to {_MAX_SHARDS} names of .safetensors files"
        )
    paths = [place.find(name) for name in names]
    if None in paths:
        lacking = names[paths.index(None)]
        raise BackboneError(f"backbone {place.name} cannot be loaded: it has no {lacking}, which {_INDEX} lists")
    return tuple(path for path in paths if path is not None)


def _check_blob(place: Place, path: Path, sha256: str) -> None:
    """Compare with the name of the file in the hub's cache, which is the SHA-256 that the hub said."""
    expected = path.resolve().name
    if path.is_symlink() and _SHA256.fullmatch(expected) and expected != sha256:
        raise BackboneError(
            f"backbone {place.name} cannot be loaded: {path} is damaged: its sha256 is {sha256}, the hub said "
            f"{expected}; remove {path.resolve()} to download it again"
        )


@contextlib.contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Hide transformers' bar for a file that is here already; the hub shows its bars again afterwards."""
    was_disabled = are_progress_bars_disabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if not was_disabled:
            transformers.utils.logging.enable_progress_bar()

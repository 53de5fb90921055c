"""Check a network's weights: names, shapes, types, values, and that they give a logit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from safetensors import SafetensorError, safe_open

from memeguard.captions import collate_captions, frame_chunk
from memeguard.classifier import CaptionTensors
from memeguard.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from memeguard.classifier import MemeClassifier

MAX_WEIGHT: Final = 1e6  # CLIP's largest are below 100; products of far larger ones leave float32
_DTYPES: Final = ("F16", "BF16", "F32")


def check_header(path: Path, expected: Mapping[str, Tensor]) -> None:
    """Compare the header of a safetensors file with a network's tensors, without reading them.

    Raises:
        BundleError: A tensor is missing, unknown, or of another shape or type; the message names it.
    """
    try:
        with safe_open(path, "pt") as file:
            found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no dict
            shapes = {name: (tuple(one.get_shape()), one.get_dtype()) for name, one in found.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise BundleError(f"{path} is not a safetensors file: {error}") from error
    for name in [*expected, *shapes]:
        if fault := _compare(name, shapes, expected):
            raise BundleError(f"{path} does not fit config.json: {fault}")


def _compare(name: str, found: Mapping[str, tuple[tuple[int, ...], str]], expected: Mapping[str, Tensor]) -> str | None:
    if name not in found:
        return f"it lacks the tensor {name}"
    if name not in expected:
        return f"it has a tensor that the network lacks, {name}"
    (shape, dtype), wanted = found[name], tuple(expected[name].shape)
    if shape != wanted:
        return f"size mismatch of {name}: {list(shape)} in the file, {list(wanted)} in the network"
    if dtype not in _DTYPES:
        return f"{name} is of type {dtype}; it must be one of {', '.join(_DTYPES)}"
    return None


def allocate(classifier: MemeClassifier) -> None:
    """Allocate the weights of a network built on the device "meta", and fill the tensors that no file holds."""
    classifier.to_empty(device="cpu")
    stored = classifier.state_dict().keys()
    for name, buffer in classifier.named_buffers():
        if name in stored:
            continue
        if name.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
        elif name.endswith("token_type_ids"):
            buffer.zero_()
        else:
            raise RuntimeError(f"transformers' backbone has a tensor {name}, whose values are not known here")


def check_values(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise ``BundleError`` naming a tensor with a value that is not a number, or too large for a trained network."""
    for name, tensor in tensors.items():
        if tensor.numel():
            low, high = (one.item() for one in tensor.aminmax())
            if not (low >= -MAX_WEIGHT and high <= MAX_WEIGHT):  # nan is neither
                raise BundleError(f"{path}: the tensor {name} has values from {low:g} to {high:g}; "
                                  f"they must be numbers from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}")  # fmt: skip


@torch.inference_mode()
def predict_blank(classifier: MemeClassifier) -> float:
    """Return the logit of a blank picture with the longest caption, whose tokens are spread over the vocabulary."""
    text, size = classifier.config.text, classifier.config.image.size
    vocab_size = classifier.config.read_backbone().text.vocab_size
    ids = torch.linspace(0, vocab_size - 1, text.room).long().tolist()
    captions = CaptionTensors.of(collate_captions([[frame_chunk(ids, text)]]))
    return float(classifier(torch.zeros(1, 3, size, size), captions))

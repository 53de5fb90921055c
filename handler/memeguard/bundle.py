"""Write a classifier to a folder and read it back: config.json, model.safetensors, tokenizer.json.

Nothing here unpickles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file

import memeguard
from memeguard.bundle_files import (
    CONFIG,
    FORMAT,
    REPORT,
    TOKENIZER,
    WEIGHTS,
    check_files,
    hash_file,
    read_model_config,
    read_tokenizer,
    write_json,
)
from memeguard.checks import check_answer
from memeguard.classifier import MemeClassifier
from memeguard.config import FORMAT_VERSION
from memeguard.errors import BundleError
from memeguard.output_folder import fill_new_folder
from memeguard.weights import allocate, check_header, check_values, predict_blank

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer


class Bundle(NamedTuple):
    """A classifier in evaluation mode, on the CPU, and its tokenizer."""

    classifier: MemeClassifier
    tokenizer: Tokenizer


def save_bundle(
    bundle: Bundle, directory: Path, *, report: dict[str, Any] | None = None, dtype: torch.dtype = torch.float32
) -> None:
    """Write ``bundle`` into ``directory``; a folder that does not exist appears complete or not at all.

    Args:
        bundle: The classifier and its tokenizer.
        directory: The folder; it must be missing or empty.
        report: The training report, written as report.json for people and for the card; none if None.
        dtype: Number format of the written weights, float32 or float16; ``load_bundle`` returns float32 in any case.

    Raises:
        OutputError: ``directory`` is not empty, or cannot be written.
        BundleError: The disk is full.
    """
    with fill_new_folder(directory) as staging:
        state = bundle.classifier.state_dict()
        tensors = {
            name: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
            for name, tensor in state.items()
        }
        try:
            save_file(tensors, staging / WEIGHTS)
            (staging / WEIGHTS).chmod(0o644)  # safetensors lets only the owner read it
            bundle.tokenizer.save(str(staging / TOKENIZER))
        except Exception as error:  # safetensors and tokenizers do not raise OSError for a full disk
            raise BundleError(f"{directory} cannot be written: {error}") from error
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "memeguard_version": memeguard.__version__,
            "sha256": {name: hash_file(staging / name) for name in (WEIGHTS, TOKENIZER)},
            "model": bundle.classifier.config.to_dict(),
        }
        write_json(staging / CONFIG, content)
        if report is not None:
            write_json(staging / REPORT, report)


def load_bundle(directory: Path) -> Bundle:
    """Read the bundle in ``directory``.

    Raises:
        BundleError: A file is missing or damaged (its sha256 differs), or the folder is not a bundle of this format.
    """
    check_files(directory, (WEIGHTS,))
    tokenizer, config = read_tokenizer(directory), read_model_config(directory)
    try:
        with torch.device("meta"):  # takes no memory, whatever sizes config.json claims, and no time for initial values
            classifier = MemeClassifier(config)
        check_header(directory / WEIGHTS, classifier.state_dict())
        allocate(classifier)
    except BundleError:
        raise
    except Exception as error:  # transformers checks "clip" and raises many kinds
        raise BundleError(f"{directory / CONFIG} does not describe a model that can be built: {error}") from error
    classifier.load_state_dict(load_file(directory / WEIGHTS))
    check_values(directory / WEIGHTS, classifier.state_dict())  # in float32, because half precision is slow on a CPU
    classifier.eval()
    check_answer(directory, lambda: predict_blank(classifier))
    return Bundle(classifier, tokenizer)

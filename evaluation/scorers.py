"""Score memes with a bundle three times: as they are, by their pictures alone, by their captions alone."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from evaluation.metrics import Scores, to_probabilities
from evaluation.result import IMAGE_ONLY, MODEL, TEXT_ONLY, UNCALIBRATED
from memeguard.errors import BundleError
from memeguard.predictor import PreparedMeme
from memes.augmentation import blank_picture
from memes.meme_table import label_array
from memes.preparing import encode_memes, prepare_memes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memeguard.torch_runtime import TorchPredictor
    from memes.meme import Meme

_BATCH: Final = 32


@torch.inference_mode()
def score_with_bundle(predictor: TorchPredictor, memes: Sequence[Meme], title: str) -> dict[str, Scores]:
    """Score ``memes`` as they are, with empty captions, and with a grey picture; and as they are without calibration.

    Each tower runs once for all of them.

    Args:
        predictor: The bundle's.
        memes: N memes.
        title: Title of the progress bar.

    Raises:
        BundleError: An answer is not a number.
    """
    size = predictor.config.image.size
    nothing = PreparedMeme(blank_picture(size), predictor.captions.encode(""))
    head = predictor.classifier.head
    grey_1D, silence_1D = encode_memes(predictor, [nothing])
    logits: dict[str, list[float]] = {MODEL: [], IMAGE_ONLY: [], TEXT_ONLY: []}
    prepared = prepare_memes(predictor, memes, title)
    while batch := list(itertools.islice(prepared, _BATCH)):
        image_BD, text_BD = encode_memes(predictor, batch)
        logits[MODEL] += head(image_BD, text_BD).tolist()
        logits[IMAGE_ONLY] += head(image_BD, silence_1D.expand_as(text_BD)).tolist()
        logits[TEXT_ONLY] += head(grey_1D.expand_as(image_BD), text_BD).tolist()
    if not np.isfinite(logits[MODEL]).all():
        raise BundleError("the bundle's answers are not numbers: its weights are damaged")
    labels, config = label_array(memes), predictor.config.labels
    probabilities = {
        name: to_probabilities(np.array(values), config.temperature, config.shift) for name, values in logits.items()
    }
    probabilities[UNCALIBRATED] = to_probabilities(np.array(logits[MODEL]))
    return {
        name: Scores(labels=labels, probabilities=values, threshold=config.threshold)
        for name, values in probabilities.items()
    }

"""Score the cases of a functional test with a bundle; every distinct caption and picture is encoded once.

Shape suffixes: N cases, D the towers' shared width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from evaluation.functional.pictures import find_own_pictures
from evaluation.functional.result import BACKGROUNDS, GREY
from evaluation.metrics import Scores, to_probabilities
from memeguard.captions import collate_captions
from memeguard.classifier import CaptionTensors
from memeguard.errors import BundleError, MemeError
from memeguard.predictor import PreparedMeme
from memeguard.torch_runtime import collate_memes
from memes.augmentation import blank_picture
from memes.meme import DataError
from memes.preparing import batches_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from evaluation.functional.cases import Case, Suite
    from evaluation.functional.pictures import Picture
    from memeguard.torch_runtime import TorchPredictor

_PAIRS: Final = 4096  # of features; the head is small


@torch.inference_mode()
def score_suite(predictor: TorchPredictor, suite: Suite, backgrounds: Sequence[Picture] = ()) -> dict[str, Scores]:
    """Score every case with a grey picture and, if there are any, with ``backgrounds``.

    A case that has a picture of its own keeps it. The backgrounds take turns, in the order of the cases.

    Args:
        predictor: The bundle's.
        suite: N cases.
        backgrounds: Pictures for cases that have none.

    Returns:
        Scores [N] by ``GREY`` and ``BACKGROUNDS``.

    Raises:
        DataError: Lists the captions that are too long and the pictures that cannot be read.
        BundleError: An answer is not a number.
    """
    own = find_own_pictures(suite)
    text_N, texts_D = _encode_texts(predictor, suite.cases)
    pictures_D = torch.cat([_encode_grey(predictor), *_encode_pictures(predictor, [*own.values(), *backgrounds])])
    places = {name: place for place, name in enumerate(own, 1)}
    labels = np.array([int(case.label) for case in suite.cases], dtype=np.int64)
    config = predictor.config.labels
    found = {}
    for setting, standing_in in _find_stand_ins(len(own), len(backgrounds)).items():
        picture_N = _assign_pictures(suite.cases, places, standing_in)
        found[setting] = Scores(
            labels=labels,
            probabilities=to_probabilities(
                _compute_logits(predictor, pictures_D[picture_N], texts_D[text_N]),
                config.temperature,
                config.shift,
            ),
            threshold=config.threshold,
        )
    return found


def _find_stand_ins(num_own: int, num_backgrounds: int) -> dict[str, Sequence[int]]:
    """By setting, the places of the pictures for cases without one; the grey one is first, backgrounds are last."""
    first = 1 + num_own
    return {GREY: [0]} | ({BACKGROUNDS: range(first, first + num_backgrounds)} if num_backgrounds else {})


def _assign_pictures(cases: Sequence[Case], places: Mapping[str, int], standing_in: Sequence[int]) -> Tensor:
    return torch.tensor(
        [
            standing_in[number % len(standing_in)] if case.picture is None else places[case.picture]
            for number, case in enumerate(cases)
        ]
    )


def _encode_texts(predictor: TorchPredictor, cases: Sequence[Case]) -> tuple[Tensor, Tensor]:
    """For each case the row of its caption's features [N], and the features of every distinct caption."""
    chunks: dict[str, list[list[int]]] = {}
    faults = []
    for case in cases:
        try:
            chunks[case.text] = chunks.get(case.text) or predictor.captions.encode(case.text)
        except MemeError as error:
            faults.append(f"{case.where}: {error}")
    if faults:
        raise DataError(faults)
    # Captions of similar length share a batch, which is padded to its longest.
    ordered = sorted(chunks, key=lambda text: sum(map(len, chunks[text])))
    features = []
    for batch in batches_of(ordered, "read captions"):
        captions = CaptionTensors.of(collate_captions([chunks[text] for text in batch]), predictor.device)
        features.append(predictor.classifier.encode_captions(captions))
    rows = {text: row for row, text in enumerate(ordered)}
    return torch.tensor([rows[case.text] for case in cases]), torch.cat(features)


def _encode_grey(predictor: TorchPredictor) -> Tensor:
    return _encode_pixels(predictor, [blank_picture(predictor.config.image.size)])


def _encode_pictures(predictor: TorchPredictor, pictures: Sequence[Picture]) -> list[Tensor]:
    faults: list[str] = []
    features = []
    for batch in batches_of(pictures, "look at pictures"):
        pixels = []
        for picture in batch:
            try:
                pixels.append(picture.decode(predictor.config.image.size))
            except DataError as error:
                faults += error.row_errors
        if not faults:
            features.append(_encode_pixels(predictor, pixels))
    if faults:
        raise DataError(faults)
    return features


def _encode_pixels(predictor: TorchPredictor, pixels: Sequence[NDArray[np.uint8]]) -> Tensor:
    silence = predictor.captions.encode("")
    memes = [PreparedMeme(one, silence) for one in pixels]
    pixels_BCHW, _ = collate_memes(memes, predictor.config.image, predictor.device)
    return predictor.classifier.encode_images(pixels_BCHW)


def _compute_logits(predictor: TorchPredictor, pictures_ND: Tensor, texts_ND: Tensor) -> NDArray[np.float64]:
    logits: list[float] = []
    for start in range(0, len(texts_ND), _PAIRS):
        image_BD, text_BD = pictures_ND[start : start + _PAIRS], texts_ND[start : start + _PAIRS]
        outputs = predictor.classifier.head(image_BD, text_BD).reshape(len(image_BD), -1)
        logits += outputs[:, 0].tolist()  # the first is "offensive", whatever else a head may answer
    if not np.isfinite(logits).all():
        raise BundleError("the bundle's answers are not numbers: its weights are damaged")
    return np.array(logits)

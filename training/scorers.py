"""Let everything that judges memes judge the same ones: a bundle, its two halves, words alone, the majority.

Does not know how judgements are measured.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from memeguard.predictor import PreparedMeme, non_offensive_probability
from training.baselines import label_array
from training.config import TrainingError
from training.inputs import prepare_memes
from training.metrics import choose_threshold
from training.statistics import Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from memeguard.predictor import Predictor
    from training.memes import Meme

MODEL, IMAGE_ONLY, TEXT_ONLY, TFIDF, MAJORITY = "model", "image-only", "text-only", "tfidf", "majority"
_BATCH: Final = 32
_MID_GREY: Final = 128


@torch.inference_mode()
def score_with_bundle(predictor: Predictor, memes: Sequence[Meme], title: str) -> dict[str, Scores]:
    """Scores of the model on ``memes``, on pictures with empty captions, and on captions with a grey picture.

    Each tower runs once for all three. The progress bar is called ``title``.

    Raises:
        TrainingError: An answer is not a number.
    """
    size = predictor.config.image.size
    nothing = PreparedMeme(np.full((3, size, size), _MID_GREY, dtype=np.uint8), predictor.captions.encode(""))
    head = predictor.classifier.head
    grey_1D, silence_1D = _encode(predictor, [nothing])
    logits: dict[str, list[float]] = {MODEL: [], IMAGE_ONLY: [], TEXT_ONLY: []}
    prepared = prepare_memes(predictor, memes, title)
    while batch := list(itertools.islice(prepared, _BATCH)):
        image_BD, text_BD = _encode(predictor, batch)
        logits[MODEL] += head(image_BD, text_BD).tolist()
        logits[IMAGE_ONLY] += head(image_BD, silence_1D.expand_as(text_BD)).tolist()
        logits[TEXT_ONLY] += head(grey_1D.expand_as(image_BD), text_BD).tolist()
    if not np.isfinite(logits[MODEL]).all():
        raise TrainingError("the bundle's answers are not numbers: its weights are damaged")
    labels, threshold = label_array(memes), predictor.config.labels.threshold
    return {
        name: Scores(
            labels=labels,
            probabilities=np.array([non_offensive_probability(logit) for logit in values]),
            threshold=threshold,
        )
        for name, values in logits.items()
    }


def score_with_tfidf(train: Sequence[Meme], validation: Sequence[Meme], memes: Sequence[Meme]) -> Scores:
    """Scores of the model of ``baselines.tfidf_baseline``, which gives its figures alone.

    Raises:
        TrainingError: ``train`` holds one label only.
    """
    if len({meme.label for meme in train}) == 1:
        label = train[0].label.name.lower()
        raise TrainingError(f"split train holds {label} memes only; TF-IDF needs both labels")
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+"),  # noqa: S106 - tokens of text
        LogisticRegression(max_iter=1000, class_weight="balanced"),
    )
    try:
        pipeline.fit([meme.text for meme in train], label_array(train))
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        return score_with_majority(train, memes)
    on_validation, probabilities = (
        pipeline.predict_proba([meme.text for meme in split])[:, 0] for split in (validation, memes)
    )
    threshold = choose_threshold(label_array(validation), on_validation)
    return Scores(labels=label_array(memes), probabilities=probabilities, threshold=threshold)


def score_with_majority(train: Sequence[Meme], memes: Sequence[Meme]) -> Scores:
    """Scores of always answering the more frequent label of ``train``."""
    share = 1.0 - float(np.mean(label_array(train)))
    return Scores(labels=label_array(memes), probabilities=np.full(len(memes), share), threshold=0.5)


def _encode(predictor: Predictor, memes: list[PreparedMeme]) -> tuple[Tensor, Tensor]:
    pixels_BCHW, captions = predictor.collate(memes)
    return predictor.classifier.encode_images(pixels_BCHW), predictor.classifier.encode_captions(captions)

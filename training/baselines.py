"""What a model has to beat: always answering the majority class, and words alone.

Knows no pictures and no CLIP.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from training.metrics import Metrics, choose_threshold, score_predictions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.memes import Meme

_WORD = re.compile(r"\w+")


def label_array(memes: Sequence[Meme]) -> NDArray[np.int64]:
    """Labels [N], 1 = offensive."""
    return np.array([int(meme.label) for meme in memes], dtype=np.int64)


def majority_baseline(train: Sequence[Meme], held_out: Sequence[Meme]) -> Metrics:
    """Always answer the more frequent label of ``train``."""
    share_non_offensive = 1.0 - float(np.mean(label_array(train)))
    return score_predictions(label_array(held_out), np.full(len(held_out), share_non_offensive), threshold=0.5)


def tfidf_baseline(train: Sequence[Meme], validation: Sequence[Meme], held_out: Sequence[Meme]) -> Metrics:
    """TF-IDF of words and word pairs, logistic regression; the threshold is chosen on ``validation`` as the model's."""
    if not any(_WORD.search(meme.text) for meme in train):
        return majority_baseline(train, held_out)
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=_WORD.pattern),
        LogisticRegression(max_iter=1000, class_weight="balanced"),
    )
    pipeline.fit([meme.text for meme in train], label_array(train))
    threshold = choose_threshold(label_array(validation), pipeline.predict_proba([m.text for m in validation])[:, 0])
    probabilities = pipeline.predict_proba([meme.text for meme in held_out])[:, 0]
    return score_predictions(label_array(held_out), probabilities, threshold)

"""Baselines that a model has to beat: the majority class, and TF-IDF on captions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from evaluation.metrics import Scores, choose_threshold
from memes.meme import DataError, Label
from memes.meme_table import label_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memes.meme import Meme

MAX_CAPTIONS: Final = 50_000
_WORD: Final = re.compile(r"\w+")


def score_with_majority(train: Sequence[Meme], held_out: Sequence[Meme]) -> Scores:
    """Predict the more frequent label of ``train`` for every meme."""
    share_non_offensive = 1.0 - float(np.mean(label_array(train)))
    return Scores(
        labels=label_array(held_out), probabilities=np.full(len(held_out), share_non_offensive), threshold=0.5
    )


def score_with_tfidf(train: Sequence[Meme], validation: Sequence[Meme], held_out: Sequence[Meme]) -> Scores:
    """Fit TF-IDF of words and word pairs with logistic regression; choose the threshold on ``validation``.

    Of more than ``MAX_CAPTIONS`` memes a random sample of that size is used: more would cost memory and hardly improve
    a linear model of words.

    Raises:
        DataError: ``train`` has one label only.
    """
    if len(found := np.unique(label_array(train))) == 1:
        name = Label(found[0]).word
        raise DataError([f"split train has {name} memes only; TF-IDF needs both labels"])
    if len(train) > MAX_CAPTIONS:
        rows = np.arange(len(train))
        drawn, _ = train_test_split(rows, train_size=MAX_CAPTIONS, stratify=label_array(train), random_state=0)
        train = [train[row] for row in np.sort(drawn).tolist()]
    if not any(_WORD.search(meme.text) for meme in train):
        return score_with_majority(train, held_out)
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=_WORD.pattern),
        LogisticRegression(max_iter=1000, class_weight="balanced"),
    )
    pipeline.fit([meme.text for meme in train], label_array(train))
    on_validation, probabilities = (
        pipeline.predict_proba([meme.text for meme in split])[:, 0] for split in (validation, held_out)
    )
    threshold = choose_threshold(label_array(validation), on_validation)
    return Scores(labels=label_array(held_out), probabilities=probabilities, threshold=threshold)

"""Divide memes into folds for cross-validation; near-duplicates stay in the same fold."""

from __future__ import annotations

import hashlib
import itertools
from contextlib import closing
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import StratifiedGroupKFold

from memeguard.regular_file import read_picture
from memes.duplicates import group_near, hash_picture, normalize_text
from memes.meme import Label
from memes.pictures import map_pictures
from training.config import TrainingError
from training.feature_cache import FeatureCache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from memes.meme import Meme

MIN_JACCARD: Final = 0.7  # similarity of the words of two captions that count as near-duplicates
_PAIRS_AT_ONCE: Final = 2**19  # pairs of captions that are compared at once, some hundred bytes each
_HASHES: Final = "picture-hashes.sqlite"


def assign_folds(
    labels: NDArray[np.int64], groups: NDArray[np.int64], num_folds: int, *, seed: int
) -> NDArray[np.int64]:
    """Assign each meme [N] to a fold: groups stay whole, and every fold has about the same share of both labels.

    Args:
        labels: int64 [N], 1 = offensive.
        groups: int64 [N], equal for near-duplicates.
        num_folds: At least 2.
        seed: The same seed gives the same folds.

    Raises:
        TrainingError: There are too few groups for so many folds.
    """
    for label in Label:
        if (num := len(np.unique(groups[labels == label]))) < num_folds:
            raise TrainingError(
                f"num_folds is {num_folds}, but split train has only {num} {label.word} memes "
                "that are not near-duplicates of each other"
            )
    folds = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed % 2**32)
    for number, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        folds[held_out] = number
    _give_both_labels(folds, labels, groups, num_folds)
    return folds


def _give_both_labels(
    folds: NDArray[np.int64], labels: NDArray[np.int64], groups: NDArray[np.int64], num_folds: int
) -> None:
    """Move one group into each fold that lacks a label; scikit-learn may leave such folds if there are few groups.

    There are as many groups of each label as folds. So another fold has two groups of the label that is missing, and
    one of them can go without leaving that fold with fewer labels.
    """
    for number, label in itertools.product(range(num_folds), Label):
        if label in labels[folds == number]:
            continue
        for group in np.unique(groups[labels == label]):
            home = folds == folds[groups == group][0]
            if len(np.unique(labels[home & (groups != group)])) == len(np.unique(labels[home])):
                folds[groups == group] = number
                break


def group_duplicates(memes: Sequence[Meme], cache_dir: Path | None = None) -> NDArray[np.int64]:
    """Number the memes [N] such that near-duplicates, in picture or caption, have the same number; chains included.

    Pictures are compared by perceptual hash (``duplicates.group_near``), captions by the Jaccard similarity of their
    words. Captions of fewer than three different words must be equal.

    Args:
        memes: N memes.
        cache_dir: Folder in which the hashes of pictures are kept.
    """
    pictures = _hash_pictures(memes, cache_dir)
    leaders = group_near(pictures)
    texts = [normalize_text(meme.text) for meme in memes]
    first_of: dict[bytes | str, int] = {}  # row in which a picture or a caption occurs first
    groups = every = np.arange(len(memes))
    keys_of_memes: tuple[Sequence[bytes | str], ...] = ([leaders[picture] for picture in pictures], texts)
    for keys in keys_of_memes:
        # An empty caption resembles no other.
        firsts = [first_of.setdefault(key, row) if key else row for row, key in enumerate(keys)]
        groups = _merge(groups, np.array(firsts), every)
    distinct = [text for text in first_of if isinstance(text, str)]
    places = np.array([first_of[text] for text in distinct], dtype=np.int64)
    for left, right in _find_similar_texts(distinct):
        groups = _merge(groups, places[left], places[right])
    return groups


def _merge(groups: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Merge the groups [N] of the memes at ``left`` [K] with those of the memes at ``right`` [K], pair by pair."""
    ends = (groups[left], groups[right])
    graph = coo_array((np.ones(len(left), dtype=np.int8), ends), shape=(len(groups), len(groups)))
    merged: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return merged[groups]


def _find_similar_texts(texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield pairs of places ([K] and [K]) in ``texts``, which are all different, whose words are nearly the same."""
    long = np.array([place for place, text in enumerate(texts) if len(set(text.split())) > 2])  # noqa: PLR2004
    if not len(long):
        return
    vectorizer = CountVectorizer(binary=True, analyzer=str.split, dtype=np.int32)
    words_NV = vectorizer.fit_transform(texts[place] for place in long)
    sizes_N = np.diff(words_NV.indptr)
    prefixes_NV = _keep_rarest(words_NV, sizes_N)
    num_rows = max(1, _PAIRS_AT_ONCE // len(long))
    for start in range(0, len(long), num_rows):
        candidates = (prefixes_NV[start : start + num_rows] @ prefixes_NV.T).tocoo()
        rows, columns = candidates.row + start, candidates.col
        rows, columns = rows[rows < columns], columns[rows < columns]
        common = np.asarray(words_NV[rows].multiply(words_NV[columns]).sum(axis=1)).ravel()
        alike = common >= MIN_JACCARD * (sizes_N[rows] + sizes_N[columns] - common)
        if alike.any():
            yield long[rows[alike]], long[columns[alike]]


def _keep_rarest(words_NV: csr_array, sizes_N: NDArray[np.int64]) -> csr_array:
    """Keep enough of each caption's rarest words that similar captions share one (Bayardo et al. 2007, "All Pairs")."""
    counts_V = np.bincount(words_NV.indices, minlength=words_NV.shape[1])
    rarity_V = np.argsort(np.argsort(counts_V, kind="stable"))
    row_of = np.repeat(np.arange(len(sizes_N)), sizes_N)
    order = np.lexsort((rarity_V[words_NV.indices], row_of))
    place = np.arange(len(order)) - np.repeat(words_NV.indptr[:-1], sizes_N)  # of a word in its caption
    num_kept_N = sizes_N - np.ceil(MIN_JACCARD * sizes_N).astype(np.int64) + 1
    kept = order[place < num_kept_N[row_of]]
    ones = np.ones(len(kept), dtype=np.int32)
    return csr_array((ones, (row_of[kept], words_NV.indices[kept])), shape=words_NV.shape)


def _hash_pictures(memes: Sequence[Meme], cache_dir: Path | None) -> list[bytes]:
    """Perceptual hashes [N], read from the cache or added to it."""
    paths = [meme.image_path for meme in memes]
    if cache_dir is None:
        hashes = map_pictures(hash_picture, paths, title="compare pictures")
        return [hashes[path] for path in paths]
    keys = {path: hashlib.sha256(read_picture(path)).digest() for path in dict.fromkeys(paths)}
    with closing(FeatureCache(cache_dir / _HASHES)) as cache:
        known = {key: bits.astype(np.uint8).tobytes() for key, bits in cache.read(list(keys.values())).items()}
        missing = [path for path, key in keys.items() if key not in known]
        computed = {
            keys[path]: one for path, one in map_pictures(hash_picture, missing, title="compare pictures").items()
        }
        cache.write({key: np.frombuffer(one, np.uint8).astype(np.float32) for key, one in computed.items()})
    known |= computed
    return [known[keys[path]] for path in paths]

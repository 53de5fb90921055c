"""Part memes into folds such that no meme has a near-duplicate in another fold.

Does not know what is learnt from the folds.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import StratifiedGroupKFold

from training.config import TrainingError
from training.data.duplicates import group_near, hash_picture, normalize_text
from training.data.pictures import map_pictures
from training.feature_cache import FeatureCache

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.data.memes import Meme

MIN_JACCARD: Final = 0.7  # of the words of two captions that count as the same
_PAIRS_AT_ONCE: Final = 2**22  # of captions that are compared, at most 12 bytes each
_HASHES: Final = "picture-hashes.sqlite"


def assign_folds(
    labels: NDArray[np.int64], groups: NDArray[np.int64], num_folds: int, *, seed: int
) -> NDArray[np.int64]:
    """The fold [N] of each meme: whole groups, and each label about equally often in every fold.

    Raises:
        TrainingError: There are too few groups of a label for so many folds.
    """
    for label, name in ((0, "non-offensive"), (1, "offensive")):
        if (num := len(np.unique(groups[labels == label]))) < num_folds:
            raise TrainingError(
                f"num_folds is {num_folds}, but split train has only {num} {name} memes that are no near-duplicates"
            )
    folds = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed % 2**32)
    for number, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        folds[held_out] = number
    if any(len(np.unique(labels[folds == number])) == 1 for number in range(num_folds)):
        raise TrainingError(
            f"num_folds is {num_folds}, but the near-duplicates of split train cannot be parted such that every fold "
            "has both labels"
        )
    return folds


def group_duplicates(memes: Sequence[Meme], cache_dir: Path | None = None) -> NDArray[np.int64]:
    """A number [N] for each meme, the same for near-duplicates: in picture or in caption, chains included.

    Pictures are compared by perceptual hash (``duplicates.group_near``), captions by the Jaccard similarity of their
    words; those of less than three words have to be the same.
    """
    pictures = _hash_pictures(memes, cache_dir)
    leaders = group_near(pictures)
    texts = [normalize_text(meme.text) for meme in memes]
    first_of: dict[object, int] = {}
    pairs = []
    for row, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
        for key in (leaders[picture], text):
            if key:  # an empty caption is like no other
                pairs.append((first_of.setdefault(key, row), row))  # noqa: PERF401 - readable
    pairs += _find_similar_texts(texts)
    left, right = np.array(pairs, dtype=np.int64).T
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(len(memes), len(memes)))
    groups: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def _find_similar_texts(texts: Sequence[str]) -> list[tuple[int, int]]:
    long = [row for row, text in enumerate(texts) if len(set(text.split())) > 2]  # noqa: PLR2004 - see above
    if not long:
        return []
    words_NV = CountVectorizer(binary=True, analyzer=str.split, dtype=np.int32).fit_transform(
        texts[row] for row in long
    )
    sizes_N = np.diff(words_NV.indptr)
    prefixes_NV = _keep_rarest(words_NV, sizes_N)
    pairs = []
    num_rows = max(1, _PAIRS_AT_ONCE // len(long))
    for start in range(0, len(long), num_rows):
        candidates = (prefixes_NV[start : start + num_rows] @ prefixes_NV.T).tocoo()
        rows, columns = candidates.row + start, candidates.col
        rows, columns = rows[rows < columns], columns[rows < columns]
        common = np.asarray(words_NV[rows].multiply(words_NV[columns]).sum(axis=1)).ravel()
        alike = common >= MIN_JACCARD * (sizes_N[rows] + sizes_N[columns] - common)
        pairs += [(long[row], long[column]) for row, column in zip(rows[alike], columns[alike], strict=True)]
    return pairs


def _keep_rarest(words_NV: csr_array, sizes_N: NDArray[np.int64]) -> csr_array:
    """Of each caption the rarest words, so many that similar captions share one (Bayardo et al. 2007, "All Pairs")."""
    counts_V = np.bincount(words_NV.indices, minlength=words_NV.shape[1])
    rarity_V = np.argsort(np.argsort(counts_V, kind="stable"))
    row_of = np.repeat(np.arange(len(sizes_N)), sizes_N)
    order = np.lexsort((rarity_V[words_NV.indices], row_of))
    place = np.arange(len(order)) - np.repeat(words_NV.indptr[:-1], sizes_N)  # of a word among its caption's
    num_kept_N = sizes_N - np.ceil(MIN_JACCARD * sizes_N).astype(np.int64) + 1
    kept = order[place < num_kept_N[row_of]]
    ones = np.ones(len(kept), dtype=np.int32)
    return csr_array((ones, (row_of[kept], words_NV.indices[kept])), shape=words_NV.shape)


def _hash_pictures(memes: Sequence[Meme], cache_dir: Path | None) -> list[bytes]:
    """Perceptual hashes [N], found in the cache or added to it."""
    paths = [meme.image_path for meme in memes]
    if cache_dir is None:
        hashes = map_pictures(hash_picture, paths, title="compare pictures")
        return [hashes[path] for path in paths]
    keys = {path: hashlib.sha256(path.read_bytes()).digest() for path in dict.fromkeys(paths)}
    with closing(FeatureCache(cache_dir / _HASHES)) as cache:
        known = {key: bits.astype(np.uint8).tobytes() for key, bits in cache.read(list(keys.values())).items()}
        missing = [path for path, key in keys.items() if key not in known]
        computed = {
            keys[path]: one for path, one in map_pictures(hash_picture, missing, title="compare pictures").items()
        }
        cache.write({key: np.frombuffer(one, np.uint8).astype(np.float32) for key, one in computed.items()})
    known |= computed
    return [known[keys[path]] for path in paths]

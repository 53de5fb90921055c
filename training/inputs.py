"""Feed memes to a classifier: pixels and tokens where the whole network learns, features where the head alone does.

Does not know losses or epochs.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from tqdm import tqdm

from memeguard.errors import MemeError
from training.feature_cache import feature_key
from training.memes import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from memeguard.classifier import MemeClassifier
    from memeguard.predictor import Predictor, PreparedMeme
    from training.feature_cache import FeatureCache
    from training.memes import Meme

_DECODING_THREADS = 4
_BATCH = 32


class Inputs(Protocol):
    """The memes of one split, ready for a forward pass."""

    def __len__(self) -> int:
        """Number of memes."""

    def logits(self, classifier: MemeClassifier, rows: Tensor) -> Tensor:
        """Offensive logits [B] of the memes at ``rows`` (int64 [B])."""


class PixelInputs:
    """Decoded memes, for training the whole network; 3 * size^2 bytes each."""

    def __init__(self, predictor: Predictor, memes: Sequence[Meme], name: str) -> None:
        self._predictor = predictor
        self._memes = list(prepare_memes(predictor, memes, name))

    def __len__(self) -> int:
        return len(self._memes)

    def logits(self, classifier: MemeClassifier, rows: Tensor) -> Tensor:
        """Run both towers and the head."""
        pixels_BCHW, captions = self._predictor.collate([self._memes[row] for row in rows.tolist()])
        logits_B: Tensor = classifier(pixels_BCHW, captions)
        return logits_B


class FeatureInputs:
    """Both towers' features, for training the head on a frozen backbone; computed once, or found in ``cache``."""

    def __init__(
        self, predictor: Predictor, memes: Sequence[Meme], name: str, cache: FeatureCache | None = None
    ) -> None:
        batches = _batches(memes, name)
        features_N2D = torch.cat([_read_features(predictor, batch, cache) for batch in batches])
        self._image_ND, self._text_ND = features_N2D.chunk(2, dim=1)

    def __len__(self) -> int:
        return len(self._image_ND)

    def logits(self, classifier: MemeClassifier, rows: Tensor) -> Tensor:
        """Run the head alone."""
        logits_B: Tensor = classifier.head(self._image_ND[rows], self._text_ND[rows])
        return logits_B


def _read_features(predictor: Predictor, memes: Sequence[Meme], cache: FeatureCache | None) -> Tensor:
    """Features [B, 2 D] of one batch, picture beside caption; what the cache lacks is computed and added to it."""
    pictures = [meme.image_path.read_bytes() for meme in memes]
    keys = [feature_key(picture, meme.text) for picture, meme in zip(pictures, memes, strict=True)]
    known = cache.read(keys) if cache else {}
    missing = {
        key: (picture, meme.text) for key, picture, meme in zip(keys, pictures, memes, strict=True) if key not in known
    }
    if missing:
        with ThreadPoolExecutor(_DECODING_THREADS) as pool:
            prepared = list(pool.map(lambda parts: predictor.prepare(*parts), missing.values()))
        computed = dict(zip(missing, _encode(predictor, prepared).numpy(force=True), strict=True))
        if cache:
            cache.write(computed)
        known |= computed
    return torch.from_numpy(np.stack([known[key] for key in keys])).to(predictor.device)


@torch.no_grad()
def _encode(predictor: Predictor, memes: Sequence[PreparedMeme]) -> Tensor:
    pixels_BCHW, captions = predictor.collate(memes)
    classifier = predictor.classifier
    return torch.cat([classifier.encode_images(pixels_BCHW), classifier.encode_captions(captions)], dim=1)


def check_captions(predictor: Predictor, memes: Iterable[Meme]) -> None:
    """Raise one ``DataError`` that lists every caption with more tokens than the model may read."""
    offenders = []
    for meme in memes:
        try:
            predictor.captions.encode(meme.text)
        except MemeError as error:
            offenders.append(f"{meme.where}: {error}")
    if offenders:
        raise DataError(offenders)


def prepare_memes(predictor: Predictor, memes: Sequence[Meme], name: str) -> Iterator[PreparedMeme]:
    """Decode ``memes`` in order, several at once, with a progress bar called ``name``."""

    def prepare(meme: Meme) -> PreparedMeme:
        return predictor.prepare(meme.image_path.read_bytes(), meme.text)

    with ThreadPoolExecutor(_DECODING_THREADS) as pool:
        for batch in _batches(memes, name):
            yield from pool.map(prepare, batch)


def _batches(memes: Sequence[Meme], name: str) -> Iterator[Sequence[Meme]]:
    with tqdm(total=len(memes), desc=name, unit="meme", disable=None) as progress:
        for start in range(0, len(memes), _BATCH):
            batch = memes[start : start + _BATCH]
            yield batch
            progress.update(len(batch))

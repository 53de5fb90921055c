"""Feed memes to a classifier: pixels and tokens where the whole network learns, features where the head alone does.

Does not know losses or epochs.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from tqdm import tqdm

from memeguard.errors import MemeError
from training.memes import DataError
from training.multioff import CSV_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from memeguard.classifier import MemeClassifier
    from memeguard.predictor import Predictor, PreparedMeme
    from training.memes import Meme

_DECODING_THREADS = 4
_ENCODING_BATCH = 32


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
    """Both towers' features, computed once, for training the head on a frozen backbone."""

    def __init__(self, predictor: Predictor, memes: Sequence[Meme], name: str) -> None:
        parts: list[_Features] = []
        batch: list[PreparedMeme] = []
        for meme in prepare_memes(predictor, memes, name):
            batch.append(meme)
            if len(batch) == _ENCODING_BATCH:
                parts.append(_encode(predictor, batch))
                batch = []
        if batch:
            parts.append(_encode(predictor, batch))
        self._image_ND = torch.cat([part.image_ND for part in parts])
        self._text_ND = torch.cat([part.text_ND for part in parts])

    def __len__(self) -> int:
        return len(self._image_ND)

    def logits(self, classifier: MemeClassifier, rows: Tensor) -> Tensor:
        """Run the head alone."""
        logits_B: Tensor = classifier.head(self._image_ND[rows], self._text_ND[rows])
        return logits_B


class _Features(NamedTuple):
    image_ND: Tensor
    text_ND: Tensor


@torch.no_grad()
def _encode(predictor: Predictor, memes: list[PreparedMeme]) -> _Features:
    pixels_BCHW, captions = predictor.collate(memes)
    classifier = predictor.classifier
    return _Features(classifier.encode_images(pixels_BCHW), classifier.encode_captions(captions))


def check_captions(predictor: Predictor, splits: Mapping[str, Sequence[Meme]]) -> None:
    """Raise one ``DataError`` that lists every caption with more tokens than the model may read."""
    offenders = []
    for split, memes in splits.items():
        for meme in memes:
            try:
                predictor.captions.encode(meme.text)
            except MemeError as error:
                offenders.append(f"{CSV_NAMES[split]}, row {meme.row}: {error}")
    if offenders:
        raise DataError(offenders)


def prepare_memes(predictor: Predictor, memes: Sequence[Meme], name: str) -> Iterator[PreparedMeme]:
    """Decode ``memes`` in order, several at once, with a progress bar called ``name``."""

    def prepare(meme: Meme) -> PreparedMeme:
        return predictor.prepare(meme.image_path.read_bytes(), meme.text)

    with ThreadPoolExecutor(_DECODING_THREADS) as pool:
        for start in tqdm(range(0, len(memes), 256), desc=name, unit_scale=256, unit="meme", disable=None):
            yield from pool.map(prepare, memes[start : start + 256])

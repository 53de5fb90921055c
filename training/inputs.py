"""Feed memes to a network: pixels and tokens where a tower learns, features where the head alone does.

Neither holds a data set in memory. Does not know losses, epochs or labels.
"""

from __future__ import annotations

import copy
import functools
import os
import random
import tempfile
import weakref
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import torch
from tqdm import tqdm

from memeguard.errors import MemeError
from memeguard.torch_runtime import collate_memes
from training.augmentation import augment
from training.data.memes import DataError
from training.feature_cache import feature_key

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from torch import Tensor, nn

    from memeguard.classifier import MemeClassifier
    from memeguard.predictor import MemePreparer, PreparedMeme
    from memeguard.torch_runtime import TorchPredictor
    from training.data.memes import Meme
    from training.feature_cache import FeatureCache

_DECODING_THREADS: Final = max(4, min(16, os.cpu_count() or 1))
_BATCH: Final = 32
_KEPT_BYTES: Final = 128 * 2**20  # decoded memes that stay in memory: 10,000 of 64 pixels a side, 890 of 224
_AHEAD_BYTES: Final = 256 * 2**20  # batches that are made while the network learns from an earlier one
_SPOOLED_BYTES: Final = 16 * 2**20  # features that stay in memory: of 4,000 memes, if they are 512 numbers wide


class Inputs(Protocol):
    """The memes of one split, a batch at a time."""

    def __len__(self) -> int:
        """Number of memes."""

    def network(self, classifier: MemeClassifier) -> nn.Module:
        """The part of ``classifier`` that takes these inputs and returns offensive logits [B]."""

    def batches(self, rows: Iterable[Tensor]) -> Generator[tuple[Any, ...]]:
        """The network's arguments for each batch of ``rows`` (int64 [B]), in order; later ones are made meanwhile."""

    def augmented(self, seed: int) -> Inputs:
        """The same memes, each changed a little (see ``augmentation``) as ``seed`` and its row say."""


class PixelInputs:
    """Memes decoded by several threads while the network learns from earlier ones; the first ones are kept decoded."""

    def __init__(self, preparer: MemePreparer, memes: Sequence[Meme], *, device: torch.device | str = "cpu") -> None:
        """Batches lie on ``device``."""
        self._preparer, self._memes, self._device = preparer, memes, device
        self._kept: dict[int, PreparedMeme] = {}
        num_values = 3 * preparer.config.image.size**2
        self._max_kept, self._num_bytes = _KEPT_BYTES // num_values, 4 * num_values
        self._augmentation_seed: int | None = None

    def __len__(self) -> int:
        return len(self._memes)

    def network(self, classifier: MemeClassifier) -> nn.Module:
        """Both towers and the head."""
        return classifier

    def batches(self, rows: Iterable[Tensor]) -> Generator[tuple[Any, ...]]:
        """Pixels [B, 3, size, size] and captions."""
        pool = ThreadPoolExecutor(_DECODING_THREADS)
        pending: deque[Future[tuple[Any, ...]]] = deque()
        try:
            for batch in rows:
                pending.append(pool.submit(self._load, batch))
                if len(pending) > min(_DECODING_THREADS, _AHEAD_BYTES // (len(batch) * self._num_bytes)):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def augmented(self, seed: int) -> Inputs:
        """The same memes, what is kept of them included."""
        changed = copy.copy(self)
        changed._augmentation_seed = seed  # noqa: SLF001 - its own
        return changed

    def _load(self, rows: Tensor) -> tuple[Any, ...]:
        prepared = [self._prepare(row) for row in rows.tolist()]
        return collate_memes(prepared, self._preparer.config.image, self._device)

    def _prepare(self, row: int) -> PreparedMeme:
        prepared = self._decode(row)
        if self._augmentation_seed is None:
            return prepared
        rng = random.Random(f"{self._augmentation_seed} {row}")  # noqa: S311 - not a secret
        return augment(prepared.pixels_CHW, self._memes[row].text, self._preparer.captions, rng)

    def _decode(self, row: int) -> PreparedMeme:
        if row in self._kept:
            return self._kept[row]
        prepared = _prepare_meme(self._preparer, self._memes[row])
        if row < self._max_kept:
            self._kept[row] = prepared
        return prepared


class FeatureInputs:
    """Both towers' features, computed once or found in ``cache``; many of them are kept in a temporary file."""

    def __init__(
        self, predictor: TorchPredictor, memes: Sequence[Meme], title: str, cache: FeatureCache | None = None
    ) -> None:
        self._device, self._num = predictor.device, len(memes)
        self._width = 2 * predictor.classifier.clip.projection_dim
        # On disk beside the cache, for the usual folder of temporary files may be memory.
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - lives as long as self
            _SPOOLED_BYTES, dir=str(cache.directory) if cache and cache.directory else None
        )
        weakref.finalize(self, self._file.close)
        for batch in _batches(memes, title):
            self._file.write(_read_features(predictor, batch, cache).tobytes())

    def __len__(self) -> int:
        return self._num

    def network(self, classifier: MemeClassifier) -> nn.Module:
        """The head alone."""
        return classifier.head

    def batches(self, rows: Iterable[Tensor]) -> Generator[tuple[Any, ...]]:
        """Picture and caption features, [B, D] each."""
        for batch in rows:
            content = bytearray().join(map(self._read, batch.tolist()))
            features_B2D = torch.frombuffer(content, dtype=torch.float32).view(len(batch), self._width)
            yield features_B2D.to(self._device).chunk(2, dim=1)

    def augmented(self, seed: int) -> Inputs:
        """Refused: features are of memes as they are."""
        raise TypeError(f"features cannot be augmented (seed {seed})")

    def _read(self, row: int) -> bytes:
        num_bytes = 4 * self._width
        self._file.seek(row * num_bytes)
        return self._file.read(num_bytes)


class SubsetInputs:
    """Some memes of other inputs."""

    def __init__(self, inputs: Inputs, rows: Tensor) -> None:
        self._inputs, self._rows = inputs, rows

    def __len__(self) -> int:
        return len(self._rows)

    def network(self, classifier: MemeClassifier) -> nn.Module:
        """As of the others."""
        return self._inputs.network(classifier)

    def batches(self, rows: Iterable[Tensor]) -> Generator[tuple[Any, ...]]:
        """As of the others."""
        return self._inputs.batches(self._rows[batch] for batch in rows)

    def augmented(self, seed: int) -> Inputs:
        """As the others."""
        return SubsetInputs(self._inputs.augmented(seed), self._rows)


def _read_features(predictor: TorchPredictor, memes: Sequence[Meme], cache: FeatureCache | None) -> np.ndarray:
    """Features float32 [B, 2 D], picture beside caption.

    Unless the cache has all of them, all are computed: a feature's last bits depend on the batch it is computed in, and
    a damaged entry must not make another bundle. What was cached from other data keeps the bits that it had there.
    """
    pictures = [_read_picture(meme) for meme in memes]
    keys = [feature_key(picture, meme.text) for picture, meme in zip(pictures, memes, strict=True)]
    known = cache.read(keys) if cache else {}
    if len(known) < len(set(keys)):
        with ThreadPoolExecutor(_DECODING_THREADS) as pool:
            prepared = list(pool.map(functools.partial(_prepare_meme, predictor), memes, pictures))
        with torch.no_grad():
            features_B2D = torch.cat(encode_memes(predictor, prepared), dim=1)
        computed = dict(zip(keys, features_B2D.numpy(force=True), strict=True))
        if cache:
            cache.write({key: feature for key, feature in computed.items() if key not in known})
        known = computed | known
    return np.stack([known[key] for key in keys]).astype(np.float32, copy=False)


def encode_memes(predictor: TorchPredictor, memes: Sequence[PreparedMeme]) -> tuple[Tensor, Tensor]:
    """Picture and caption features [B, D] of one batch."""
    pixels_BCHW, captions = collate_memes(memes, predictor.config.image, predictor.device)
    return predictor.classifier.encode_images(pixels_BCHW), predictor.classifier.encode_captions(captions)


def check_captions(preparer: MemePreparer, memes: Iterable[Meme]) -> None:
    """Raise one ``DataError`` that lists every caption with more tokens than the model may read."""
    offenders = []
    for meme in memes:
        try:
            preparer.captions.encode(meme.text)
        except MemeError as error:
            offenders.append(f"{meme.where}: {error}")
    if offenders:
        raise DataError(offenders)


def prepare_memes(preparer: MemePreparer, memes: Sequence[Meme], title: str) -> Iterator[PreparedMeme]:
    """Decode ``memes`` in order, several at once, with a progress bar called ``title``."""
    with ThreadPoolExecutor(_DECODING_THREADS) as pool:
        for batch in _batches(memes, title):
            yield from pool.map(functools.partial(_prepare_meme, preparer), batch)


def _prepare_meme(preparer: MemePreparer, meme: Meme, picture: bytes | None = None) -> PreparedMeme:
    """Decode a meme, whose ``picture`` may have been read already; raises ``DataError``."""
    try:
        return preparer.prepare(_read_picture(meme) if picture is None else picture, meme.text)
    except MemeError as error:  # it was fine when the data was read
        raise DataError([f"{meme.where}: {error}"]) from error


def _read_picture(meme: Meme) -> bytes:
    try:
        return meme.read_picture()
    except OSError as error:
        raise DataError([f"{meme.where}: unreadable picture, {str(meme.image_path)!r}: {error.strerror}"]) from error


def _batches(memes: Sequence[Meme], title: str) -> Iterator[Sequence[Meme]]:
    with tqdm(total=len(memes), desc=title, unit="meme", disable=None) as progress:
        for start in range(0, len(memes), _BATCH):
            batch = memes[start : start + _BATCH]
            yield batch
            progress.update(len(batch))

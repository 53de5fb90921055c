"""Feed memes to a network: pixels and tokens if towers are trained, features if only the head is.

Neither keeps a data set in memory.
"""

from __future__ import annotations

import copy
import functools
import random
import tempfile
import weakref
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import torch

from memeguard.torch_runtime import collate_memes
from memes.augmentation import augment
from memes.preparing import DECODING_THREADS, batches_of, encode_memes, prepare_meme, read_picture
from training.feature_cache import feature_key

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from torch import Tensor, nn

    from memeguard.classifier import MemeClassifier
    from memeguard.predictor import MemePreparer, PreparedMeme
    from memeguard.torch_runtime import TorchPredictor
    from memes.meme import Meme
    from training.feature_cache import FeatureCache

_KEPT_BYTES: Final = 128 * 2**20  # decoded memes kept in memory: 10,000 of 64 pixels a side, 890 of 224
_AHEAD_BYTES: Final = 256 * 2**20  # batches that are prepared while the network computes
_SPOOLED_BYTES: Final = 16 * 2**20  # features kept in memory: of 4,000 memes, if they are 512 numbers wide


class Inputs(Protocol):
    """The memes of one split, a batch at a time."""

    def __len__(self) -> int:
        """Number of memes."""

    def network(self, classifier: MemeClassifier) -> nn.Module:
        """The part of ``classifier`` that maps these inputs to offensive logits [B]."""

    def batches(self, rows: Iterable[Tensor]) -> Generator[tuple[Any, ...]]:
        """Yield the network's arguments for each batch of ``rows`` (int64 [B]), in order; prepare later ones ahead."""

    def augmented(self, seed: int) -> Inputs:
        """The same memes, each varied (see ``memes.augmentation``) by ``seed`` and its row."""


class PixelInputs:
    """Memes that several threads decode while the network computes; the first ones stay decoded."""

    def __init__(self, preparer: MemePreparer, memes: Sequence[Meme], *, device: torch.device | str = "cpu") -> None:
        """Yield batches on ``device``."""
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
        pool = ThreadPoolExecutor(DECODING_THREADS)
        pending: deque[Future[tuple[Any, ...]]] = deque()
        try:
            for batch in rows:
                pending.append(pool.submit(self._load, batch))
                if len(pending) > min(DECODING_THREADS, _AHEAD_BYTES // (len(batch) * self._num_bytes)):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def augmented(self, seed: int) -> Inputs:
        """The same memes, which share what is kept decoded."""
        changed = copy.copy(self)
        changed._augmentation_seed = seed  # noqa: SLF001 - of this class
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
        prepared = prepare_meme(self._preparer, self._memes[row])
        if row < self._max_kept:
            self._kept[row] = prepared
        return prepared


class FeatureInputs:
    """Features of both towers, computed once or read from ``cache``; large amounts are kept in a temporary file."""

    def __init__(
        self, predictor: TorchPredictor, memes: Sequence[Meme], title: str, cache: FeatureCache | None = None
    ) -> None:
        self._device, self._num = predictor.device, len(memes)
        self._width = 2 * predictor.classifier.feature_dim
        # Beside the cache, since the usual folder of temporary files may be in memory.
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - lives as long as self
            _SPOOLED_BYTES, dir=str(cache.directory) if cache and cache.directory else None
        )
        weakref.finalize(self, self._file.close)
        for batch in batches_of(memes, title):
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
        """Raise ``TypeError``: features cannot be augmented."""
        raise TypeError(f"features cannot be augmented (seed {seed})")

    def _read(self, row: int) -> bytes:
        num_bytes = 4 * self._width
        self._file.seek(row * num_bytes)
        return self._file.read(num_bytes)


class SubsetInputs:
    """A subset of the memes of other inputs."""

    def __init__(self, inputs: Inputs, rows: Tensor) -> None:
        self._inputs, self._rows = inputs, rows

    def __len__(self) -> int:
        return len(self._rows)

    def network(self, classifier: MemeClassifier) -> nn.Module:
        """The network of the other inputs."""
        return self._inputs.network(classifier)

    def batches(self, rows: Iterable[Tensor]) -> Generator[tuple[Any, ...]]:
        """Batches of the subset."""
        return self._inputs.batches(self._rows[batch] for batch in rows)

    def augmented(self, seed: int) -> Inputs:
        """The subset of the augmented memes."""
        return SubsetInputs(self._inputs.augmented(seed), self._rows)


def _read_features(predictor: TorchPredictor, memes: Sequence[Meme], cache: FeatureCache | None) -> np.ndarray:
    """Compute or read features float32 [B, 2 D]: the picture's, then the caption's.

    Unless the cache has all of the batch, all are computed: the last bits of a feature depend on its batch, and a
    damaged entry must not change the bundle. Features that were cached from other data keep their bits.
    """
    pictures = [read_picture(meme) for meme in memes]
    keys = [feature_key(picture, meme.text) for picture, meme in zip(pictures, memes, strict=True)]
    known = cache.read(keys) if cache else {}
    if len(known) < len(set(keys)):
        with ThreadPoolExecutor(DECODING_THREADS) as pool:
            prepared = list(pool.map(functools.partial(prepare_meme, predictor), memes, pictures))
        with torch.no_grad():
            features_B2D = torch.cat(encode_memes(predictor, prepared), dim=1)
        computed = dict(zip(keys, features_B2D.numpy(force=True), strict=True))
        if cache:
            cache.write({key: feature for key, feature in computed.items() if key not in known})
        known = computed | known
    return np.stack([known[key] for key in keys]).astype(np.float32, copy=False)

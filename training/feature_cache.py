"""Keep a frozen backbone's features, so that each picture and each caption is read by it once.

One SQLite file for each backbone and preprocessing: a run that is interrupted keeps what it has, and several may share
it. Does not know how features are computed.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from numpy.typing import NDArray

    from memeguard.torch_runtime import TorchPredictor

_CHECKSUM_BYTES = 8
_BUSY_TIMEOUT_S = 60.0  # how long to wait for another run that is writing


class FeatureCache:
    """Features by key; an entry that is damaged counts as missing.

    A disk that is full, or a file that is no cache, costs the cache and not the run: it says so once and goes on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    @classmethod
    def for_backbone(cls, directory: Path, predictor: TorchPredictor) -> Self:
        """The cache in ``directory`` of ``predictor``'s backbone, preprocessing, tokenizer and kind of device."""
        return cls(directory / f"{_fingerprint(predictor)}.sqlite")

    @property
    def directory(self) -> Path | None:
        """The folder of the file; none if it is of no use."""
        return self._path.parent if self._database is not None else None

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()

    def read(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """The features [D] of those ``keys`` that are there and intact."""
        found: dict[bytes, NDArray[np.float32]] = {}
        for key in keys:
            value = self._find(key)
            if value is not None and _checksum(key, value[_CHECKSUM_BYTES:]) == value[:_CHECKSUM_BYTES]:
                found[key] = np.frombuffer(value[_CHECKSUM_BYTES:], dtype="<f4")
        return found

    def write(self, features: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Add ``features`` [D], all or none."""
        if self._database is None:
            return
        rows = []
        for key, feature in features.items():
            content = feature.astype("<f4").tobytes()
            rows.append((key, _checksum(key, content) + content))
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO features VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def _find(self, key: bytes) -> bytes | None:
        if self._database is None:
            return None
        try:
            with closing(self._database.execute("SELECT value FROM features WHERE key = ?", (key,))) as cursor:
                row = cursor.fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        return row[0] if row else None

    def _give_up(self, error: Exception) -> None:
        tqdm.write(f"warning: feature cache {self._path} is not used: {error}", file=sys.stderr)
        self.close()
        self._database = None


def feature_key(picture: bytes, text: str) -> bytes:
    """What a meme's features go by: a hash of its picture file and one of its caption."""
    return hashlib.sha256(picture).digest() + hashlib.sha256(text.encode()).digest()


def _checksum(key: bytes, content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_CHECKSUM_BYTES, key=key).digest()


def _fingerprint(predictor: TorchPredictor) -> str:
    """What features depend on: weights, preprocessing, tokenizer, and the device's arithmetic."""
    digest = hashlib.sha256()
    for name, tensor in sorted(predictor.classifier.clip.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    config = predictor.config
    settings = {"image": asdict(config.image), "text": asdict(config.text), "device": predictor.device.type}
    digest.update(json.dumps(settings, sort_keys=True).encode())
    digest.update(predictor.captions.serialized().encode())
    return digest.hexdigest()[:32]

"""Cache the features of a frozen backbone, so that they are computed once for each meme.

There is one SQLite file per backbone and preprocessing. Interrupted runs keep what they computed, and several processes
may share a file.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
from contextlib import closing
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
_BUSY_TIMEOUT_S = 60.0  # how long to wait while another process writes


class FeatureCache:
    """Features by key; a damaged entry counts as missing.

    If the disk is full or the file is not a cache, a warning is printed once and the run continues without it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S)
            # The journal keeps SQLite's default mode: a change of mode does not wait for another process, it fails.
            self._database.execute("CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    @classmethod
    def for_backbone(cls, directory: Path, predictor: TorchPredictor) -> Self:
        """Open the cache in ``directory`` for the backbone, preprocessing and device type of ``predictor``."""
        return cls(directory / f"{_fingerprint(predictor)}.sqlite")

    @property
    def directory(self) -> Path | None:
        """Folder of the file; None if the cache is not used."""
        return self._path.parent if self._database is not None else None

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()

    def read(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """Read the features [D] of those ``keys`` that are present and intact."""
        found: dict[bytes, NDArray[np.float32]] = {}
        for key in keys:
            value = self._find(key)
            if value is not None and _checksum(key, value[_CHECKSUM_BYTES:]) == value[:_CHECKSUM_BYTES]:
                found[key] = np.frombuffer(value[_CHECKSUM_BYTES:], dtype="<f4")
        return found

    def write(self, features: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Add ``features`` [D]: all of them or, on an error, none."""
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
    """Make the key of a meme's features: a hash of its picture file and a hash of its caption."""
    return hashlib.sha256(picture).digest() + hashlib.sha256(text.encode()).digest()


def _checksum(key: bytes, content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_CHECKSUM_BYTES, key=key).digest()


def _fingerprint(predictor: TorchPredictor) -> str:
    """Hash what features depend on: weights, preprocessing, tokenizer, and the arithmetic of the device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(predictor.classifier.clip.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    config = predictor.config.to_dict()
    settings = {"image": config["image"], "text": config["text"], "device": predictor.device.type}
    digest.update(json.dumps(settings, sort_keys=True).encode())
    digest.update(predictor.captions.serialized().encode())
    return digest.hexdigest()[:32]

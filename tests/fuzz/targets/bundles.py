"""Bundles: the first byte of an input chooses a file of the bundle, the rest is its content.

The checksums in config.json are made right again, or nothing behind them would be read.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from PIL import Image

from memeguard.bundle import load_bundle, save_bundle
from memeguard.bundle_files import CONFIG, TOKENIZER, WEIGHTS
from memeguard.errors import BundleError
from memeguard.torch_runtime import TorchPredictor
from tests.fuzz.mutations import mutate_json
from tests.fuzz.oracles import InsaneAnswerError, Target
from tests.small_bundle import make_small_bundle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_FILES: Final = (CONFIG, TOKENIZER, WEIGHTS)
_CAPTION: Final = "a caption of many words"
_FLOATS: Final = (math.nan, math.inf, -math.inf, 3e38, 0.0)


class _Folder:
    """A bundle, one file of which each input replaces."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="fuzz-bundle-"))
        self.path = self._root / "bundle"
        torch.set_num_threads(1)
        save_bundle(make_small_bundle(), self.path)
        self._config = json.loads((self.path / CONFIG).read_bytes())
        self._honest = {name: (self.path / name).read_bytes() for name in _FILES}
        buffer = io.BytesIO()
        Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(buffer, "PNG")
        self._image = buffer.getvalue()

    def seeds(self) -> list[bytes]:
        return [bytes([number]) + self._honest[name] for number, name in enumerate(_FILES)]

    def read(self, data: bytes) -> object:
        name = _FILES[data[0] % len(_FILES) if data else 0]
        self._replace(name, data[1:])
        try:
            predictor = TorchPredictor(load_bundle(self.path))
        finally:
            self._replace(name, self._honest[name])
        try:
            [verdict] = predictor.predict([predictor.prepare(self._image, _CAPTION)])
        except Exception as error:
            raise InsaneAnswerError(f"it loads and then fails: {error!r:.200}") from error
        if not (math.isfinite(verdict.logit) and 0.0 <= verdict.probability <= 1.0):
            raise InsaneAnswerError(f"the verdict is {verdict}")
        return verdict

    def _replace(self, name: str, content: bytes) -> None:
        (self.path / name).write_bytes(content)
        if name != CONFIG:
            sums = {**self._config["sha256"], name: hashlib.sha256(content).hexdigest()}
            (self.path / CONFIG).write_text(json.dumps({**self._config, "sha256": sums}), "utf-8")

    def clean_up(self) -> None:
        shutil.rmtree(self._root)


def _mutate(data: bytes, engine: Callable[[bytes], bytes], chance: random.Random) -> bytes:
    head, content = data[:1] or b"\0", data[1:]
    if _FILES[head[0] % len(_FILES)] != WEIGHTS:
        return head + mutate_json(content, engine, chance)
    if len(content) < 16 or chance.random() < 0.2:
        return head + engine(content)
    (length,) = struct.unpack_from("<Q", content)  # the header of a safetensors file is JSON of this length
    header, tensors = content[8 : 8 + length], content[8 + length :]
    if chance.random() < 0.5 and len(tensors) >= 4:
        place = 4 * chance.randrange(len(tensors) // 4)
        return head + content[: 8 + length + place] + struct.pack("<f", chance.choice(_FLOATS)) + tensors[place + 4 :]
    header = mutate_json(header, engine, chance)
    return head + struct.pack("<Q", len(header)) + header + tensors


def _target() -> Target:
    folder = _Folder()
    return Target(
        run=folder.read,
        accepted=(BundleError,),
        seeds=folder.seeds,
        mutate=_mutate,
        max_bytes=2**20,
        clean_up=folder.clean_up,
    )


TARGETS: Final = {"bundles": _target}

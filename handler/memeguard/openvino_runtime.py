"""Judge memes with OpenVINO: on a CPU two to three times as fast as torch, in bf16 by itself where the CPU has AMX.

Does not know how a network was converted (``training.conversion``), and needs neither torch nor transformers.

Shape suffixes: B memes, N text chunks, T tokens, C channels, H height, W width.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import numpy as np
import openvino

from memeguard.bundle_files import (
    OPENVINO_CHECKSUMS,
    OPENVINO_CONSTANTS,
    OPENVINO_NETWORK,
    check_hashes,
    read_model_config,
    read_tokenizer,
)
from memeguard.captions import collate_captions
from memeguard.errors import BundleError
from memeguard.predictor import Predictor
from memeguard.preprocess import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from memeguard.captions import CaptionBatch
    from memeguard.predictor import PreparedMeme

_TOKENS_STEP = 8  # captions are padded to a multiple of it: each new shape costs a preparation of its own


class OpenVinoPredictor(Predictor):
    """The converted network beside a bundle, compiled for this CPU."""

    def __init__(
        self,
        directory: Path,
        *,
        num_threads: int | None = None,
        max_pixels: int = MAX_PIXELS,
        decode_timeout_s: float | None = None,
    ) -> None:
        """Compile the network in ``directory``.

        Args:
            directory: A bundle's, with a converted network.
            num_threads: How many compute; all cores by default.
            max_pixels: See ``MemePreparer``.
            decode_timeout_s: The same.

        Raises:
            BundleError: A file is missing, damaged, or belongs to other weights.
        """
        config, tokenizer = read_model_config(directory), read_tokenizer(directory)
        super().__init__(config, tokenizer, max_pixels=max_pixels, decode_timeout_s=decode_timeout_s)
        _check(directory)
        # One stream over all threads beat several in every batch size measured.
        settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
        if num_threads:
            settings["INFERENCE_NUM_THREADS"] = num_threads
        try:
            compiled = openvino.Core().compile_model(directory / OPENVINO_NETWORK, "CPU", settings)
        except RuntimeError as error:
            raise BundleError(f"{directory / OPENVINO_NETWORK} cannot be compiled: {error}") from error
        self._request, self._lock = compiled.create_infer_request(), threading.Lock()
        self.precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()

    def logits(self, memes: Sequence[PreparedMeme]) -> list[float]:
        """The offensive logit of each meme of one batch."""
        if not memes:
            return []
        pixels_BCHW = np.stack([meme.pixels_CHW for meme in memes])
        captions = collate_captions([meme.chunks for meme in memes])
        arguments = _network_inputs(pixels_BCHW, captions, self.config.text.context_length)
        with self._lock:
            values: list[float] = self._request.infer(arguments, share_inputs=True)[0].tolist()
        return values


def _network_inputs(
    pixels_BCHW: NDArray[np.uint8], captions: CaptionBatch, context_length: int
) -> list[NDArray[np.generic]]:
    """What the converted network takes: pixels, tokens int64 [N, T], their ends [N], and weights float32 [B, N].

    A row of the weights is a caption's mean over its chunks.
    """
    num_tokens = captions.tokens_NT.shape[1]
    num_padded = min(-(-num_tokens // _TOKENS_STEP) * _TOKENS_STEP, context_length)
    tokens_NT = np.pad(captions.tokens_NT, ((0, 0), (0, num_padded - num_tokens)))
    belongs_BN = captions.meme_N[None, :] == np.arange(captions.num_memes)[:, None]
    weights_BN = belongs_BN.astype(np.float32) / belongs_BN.sum(axis=1, keepdims=True, dtype=np.float32)
    return [pixels_BCHW, tokens_NT, captions.last_N, weights_BN]


def _check(directory: Path) -> None:
    path = directory / OPENVINO_CHECKSUMS
    if not path.is_file():
        raise BundleError(f"bundle {directory} holds no network converted for OpenVINO: it has no {OPENVINO_CHECKSUMS}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        hashes = {name: str(content["sha256"][name]) for name in (OPENVINO_NETWORK, OPENVINO_CONSTANTS)}
    except (ValueError, TypeError, KeyError) as error:
        raise BundleError(f"{path} does not hold the hashes of a converted network: {error!r}") from error
    check_hashes(directory, hashes, OPENVINO_CHECKSUMS)

"""Inference with OpenVINO, which on a CPU is several times as fast as torch.

Quantized networks compute in int8, others in bf16 on a CPU with AMX and in float32 elsewhere. ``archiving.conversion``
makes the networks. Neither torch nor transformers is imported.

Shape suffixes: B memes, N text chunks, T tokens, D CLIP's shared width, C channels, H height, W width.
"""

from __future__ import annotations

import json
import queue
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import openvino

from memeguard.bundle_files import (
    OPENVINO_CHECKSUMS,
    OPENVINO_FILES,
    OPENVINO_NETWORKS,
    WEIGHTS,
    check_files,
    check_hashes,
    read_model_config,
    read_tokenizer,
)
from memeguard.captions import collate_captions, pad_tokens
from memeguard.errors import BundleError
from memeguard.predictor import Predictor
from memeguard.preprocess import DEFAULT_LIMITS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from memeguard.predictor import PreparedMeme
    from memeguard.preprocess import DecodingLimits

# Measured with ViT-B/32 and real captions on two cores (benchmarks/README.md): chunks pass through the tower in small
# groups of similar length, so that little of them is padding; rounded lengths avoid preparing the network for every
# length. Both towers in one network took a third longer for a single meme.
_CHUNKS_AT_ONCE: Final = 8
_TOKENS_STEP: Final = 8


class OpenVinoPredictor(Predictor):
    """The converted networks of a bundle, compiled for this CPU."""

    def __init__(
        self,
        directory: Path,
        *,
        num_threads: int | None = None,
        num_streams: int = 1,
        limits: DecodingLimits = DEFAULT_LIMITS,
    ) -> None:
        """Compile the networks in ``directory``.

        Args:
            directory: Folder of a bundle with converted networks.
            num_threads: Number of threads; all cores by default.
            num_streams: Number of batches that are computed at once; each gets an equal share of the threads.
            limits: What decoding one picture may cost.

        Raises:
            BundleError: A file is missing or damaged.
        """
        config, tokenizer = read_model_config(directory), read_tokenizer(directory)
        super().__init__(config, tokenizer, limits)
        _check(directory)
        # For sequential batches, one stream over all threads was faster than several in every batch size measured.
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"} if num_streams == 1 else {"NUM_STREAMS": num_streams}
        if num_threads:
            settings["INFERENCE_NUM_THREADS"] = num_threads
        core = openvino.Core()
        try:
            networks = [core.read_model(directory / name) for name in OPENVINO_NETWORKS]
            compiled = [core.compile_model(network, "CPU", settings) for network in networks]
        except RuntimeError as error:
            raise BundleError(f"bundle {directory} holds a network that cannot be compiled: {error}") from error
        is_quantized = networks[0].has_rt_info(["nncf", "quantization"])
        self.precision = "int8" if is_quantized else compiled[0].get_property("INFERENCE_PRECISION_HINT").to_string()
        self.num_streams = num_streams
        self._streams = queue.LifoQueue[_Stream]()
        for _ in range(num_streams):
            self._streams.put(_Stream(compiled, config.text.context_length))

    def logits(self, memes: Sequence[PreparedMeme]) -> list[float]:
        """Predict the offensive logit of each meme of one batch."""
        if not memes:
            return []
        pixels_BCHW = np.stack([meme.pixels_CHW for meme in memes])
        stream = self._streams.get()
        try:
            return stream.logits(pixels_BCHW, [meme.chunks for meme in memes])
        finally:
            self._streams.put(stream)


class _Stream:
    """Computes one batch at a time."""

    def __init__(self, networks: Sequence[Any], context_length: int) -> None:
        self._image, self._text, self._head = (network.create_infer_request() for network in networks)
        self._context_length = context_length

    def logits(self, pixels_BCHW: NDArray[np.uint8], captions: list[list[list[int]]]) -> list[float]:
        """Predict offensive logits from pictures and the chunks of their captions."""
        image_BD = _infer(self._image, pixels_BCHW)
        values: list[float] = _infer(self._head, image_BD, self._encode_captions(captions)).tolist()
        return values

    def _encode_captions(self, captions: list[list[list[int]]]) -> NDArray[np.float32]:
        """Compute caption features [B, D], averaged over chunks as ``MemeClassifier.pool_chunks`` does with torch."""
        chunks = [chunk for caption in captions for chunk in caption]
        order = np.argsort([len(chunk) for chunk in chunks], kind="stable")
        groups = np.array_split(order, -(-len(chunks) // _CHUNKS_AT_ONCE))
        encoded = np.concatenate([self._encode_chunks([chunks[index] for index in group]) for group in groups])
        chunks_ND = np.empty_like(encoded)
        chunks_ND[order] = encoded
        ends = np.cumsum([len(caption) for caption in captions])[:-1]
        return np.stack([part_ND.mean(axis=0) for part_ND in np.split(chunks_ND, ends)])

    def _encode_chunks(self, chunks: list[list[int]]) -> NDArray[np.float32]:
        batch = collate_captions([[chunk] for chunk in chunks])
        tokens_NT = pad_tokens(batch.tokens_NT, self._context_length, step=_TOKENS_STEP)
        return _infer(self._text, tokens_NT, batch.last_N)


def _infer(request: Any, *inputs: NDArray[np.generic]) -> NDArray[np.float32]:  # noqa: ANN401 - openvino has no types
    """Run the network and copy its output, whose memory the next request overwrites."""
    answer: NDArray[np.float32] = request.infer(list(inputs), share_inputs=True)[0].copy()
    return answer


def _check(directory: Path) -> None:
    check_files(directory, (WEIGHTS,))  # not needed here; but if it is damaged, so may be what was made from it
    path = directory / OPENVINO_CHECKSUMS
    if not path.is_file():
        raise BundleError(f"bundle {directory} holds no network converted for OpenVINO: it has no {OPENVINO_CHECKSUMS}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        hashes = {name: str(content[name]) for name in OPENVINO_FILES}
    except (ValueError, TypeError, KeyError) as error:
        raise BundleError(f"{path} does not hold the hashes of converted networks: {error!r}") from error
    check_hashes(directory, hashes, OPENVINO_CHECKSUMS)

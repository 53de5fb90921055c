"""Inference on an NVIDIA GPU in bfloat16: each shape of a batch is recorded once as a CUDA graph and then replayed.

Launching the kernels of both towers one by one takes several times as long as the GPU computes, and holds Python's
lock, which decoding needs too. A replay is one launch.

Shape suffixes: B memes, N text chunks, T tokens, D CLIP's shared width, C channels, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from memeguard.captions import collate_captions, pad_tokens
from memeguard.torch_runtime import TorchPredictor, channel_statistics, normalize_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from memeguard.bundle import Bundle
    from memeguard.predictor import PreparedMeme

_TOKENS_STEP: Final = 16  # few recordings, and little padding
_MAX_ROWS: Final = 128  # of a recording; larger batches keep a GPU busy without one
_MAX_WARM_TOKENS: Final = 128  # longer captions are rare; their shapes are recorded at their first use
_NUM_REHEARSALS: Final = 2  # so that libraries do not allocate their workspaces while recording


class CudaPredictor(TorchPredictor):
    """A bundle on a CUDA device."""

    def __init__(self, bundle: Bundle, *, device: str = "cuda", **settings: Any) -> None:  # noqa: ANN401
        """See ``TorchPredictor`` for ``settings``."""
        super().__init__(bundle, device=device, precision=torch.bfloat16, **settings)
        # cuDNN's attention makes a plan for each caption length; the other implementations do not.
        torch.backends.cuda.enable_cudnn_sdp(enabled=False)
        self._statistics = channel_statistics(self.config.image, self.device)
        self._encode_pixels = _RecordedTower(self._encode_raw_pixels, self.device)
        self._encode_tokens = _RecordedTower(self.classifier.encode_chunks, self.device)

    @torch.inference_mode()
    def logits(self, memes: Sequence[PreparedMeme]) -> list[float]:
        """Predict the offensive logit of each meme of one batch."""
        if not memes:
            return []
        pixels_BCHW = np.stack([meme.pixels_CHW for meme in memes])
        captions = collate_captions([meme.chunks for meme in memes])
        tokens_NT = pad_tokens(captions.tokens_NT, self.config.text.context_length, step=_TOKENS_STEP)
        with self._lock, torch.cuda.device(self.device):
            image_BD = self._encode_pixels(pixels_BCHW)
            chunks_ND = self._encode_tokens(tokens_NT, captions.last_N)
            meme_N = torch.from_numpy(captions.meme_N).to(self.device)
            text_BD = self.classifier.pool_chunks(chunks_ND, meme_N, captions.num_memes)
            values: list[float] = self.classifier.head(image_BD, text_BD).tolist()
        return values

    @torch.inference_mode()
    def warm_up(self, batch_size: int) -> None:
        """Record every shape of up to ``batch_size`` memes, then predict as any predictor does."""
        side, text = self.config.image.size, self.config.text
        sizes = {round_up(num) for num in range(1, batch_size + 1)}
        longest = min(text.context_length, _MAX_WARM_TOKENS)
        lengths = {*range(_TOKENS_STEP, longest, _TOKENS_STEP), longest}
        if text.pad_id is not None:
            lengths = {text.context_length}
        with self._lock, torch.cuda.device(self.device):
            for size in sizes:
                self._encode_pixels(np.zeros((size, 3, side, side), np.uint8))
                for length in lengths:
                    self._encode_tokens(np.zeros((size, length), np.int64), np.zeros(size, np.int64))
        super().warm_up(batch_size)

    def _encode_raw_pixels(self, pixels_BCHW: Tensor) -> Tensor:
        return self.classifier.encode_images(normalize_pixels(pixels_BCHW, *self._statistics))


class _RecordedTower:
    """One tower, recorded for each shape of its inputs at its first use."""

    def __init__(self, encode: Callable[..., Tensor], device: torch.device) -> None:
        self._encode, self._device = encode, device
        self._recordings: dict[tuple[int, ...], _Recording] = {}
        self._pool: Any = None  # memory that the recordings share, as they are never replayed at the same time

    def __call__(self, *arrays: NDArray[Any]) -> Tensor:
        """Compute embeddings [rows, D] from arrays with as many rows; the next call overwrites them."""
        num_rows, *shape = arrays[0].shape
        values = [torch.from_numpy(array) for array in arrays]
        if num_rows > _MAX_ROWS:
            return self._encode(*(value.to(self._device) for value in values))
        key = (round_up(num_rows), *shape)
        if key not in self._recordings:
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            inputs = [value.new_zeros((key[0], *value.shape[1:]), device=self._device) for value in values]
            self._recordings[key] = _Recording(self._encode, inputs, self._pool)
        return self._recordings[key].replay(values)[:num_rows]


class _Recording:
    """One computation on inputs of one shape, on the current device."""

    def __init__(self, compute: Callable[..., Tensor], inputs: Sequence[Tensor], pool: Any) -> None:  # noqa: ANN401
        self._inputs = inputs
        current, rehearsal = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        rehearsal.wait_stream(current)
        with torch.cuda.stream(rehearsal):
            for _ in range(_NUM_REHEARSALS):
                compute(*inputs)
        current.wait_stream(rehearsal)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self._output = compute(*inputs)

    def replay(self, values: Sequence[Tensor]) -> Tensor:
        """Compute the output for ``values``; further rows of the output are meaningless."""
        for place, value in zip(self._inputs, values, strict=True):
            place[: len(value)].copy_(value)
        self._graph.replay()
        return self._output


def round_up(num_rows: int) -> int:
    """Round up to a power of two, so that a few recordings serve every batch size."""
    return 1 << (num_rows - 1).bit_length()

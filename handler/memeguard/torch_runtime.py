"""Inference with torch: the reference that every other runtime is compared with.

Shape suffixes: B memes, C channels, H height, W width.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import torch

from memeguard.bundle import load_bundle
from memeguard.captions import collate_captions
from memeguard.classifier import CaptionTensors
from memeguard.predictor import Predictor
from memeguard.preprocess import DEFAULT_LIMITS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from torch import Tensor

    from memeguard.bundle import Bundle
    from memeguard.config import ImageConfig
    from memeguard.predictor import PreparedMeme
    from memeguard.preprocess import DecodingLimits


class TorchPredictor(Predictor):
    """A bundle on a device.

    Attributes:
        classifier: Network in evaluation mode.
        device: Device of the network.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "cpu",
        precision: torch.dtype = torch.float32,
        limits: DecodingLimits = DEFAULT_LIMITS,
    ) -> None:
        """Move ``bundle`` to ``device``; towers compute in ``precision``, float32 or bfloat16, the head in float32."""
        config = bundle.classifier.config
        super().__init__(config, bundle.tokenizer, limits)
        self.device = torch.device(device)
        self.classifier = bundle.classifier.to(self.device).eval()
        # Not autocast, which rounds the weights for every batch: on a GPU these casts cost more than the towers.
        self.classifier.clip.to(precision)
        self.precision = "bf16" if precision == torch.bfloat16 else "f32"
        self._lock = threading.Lock()  # one batch at a time uses all cores, or the GPU

    @classmethod
    def from_folder(cls, directory: Path, *, device: str = "cpu") -> Self:
        """Load the bundle in ``directory`` in float32; raises ``BundleError``."""
        return cls(load_bundle(directory), device=device)

    @torch.inference_mode()
    def logits(self, memes: Sequence[PreparedMeme]) -> list[float]:
        """Predict the offensive logit of each meme of one batch."""
        if not memes:
            return []
        pixels_BCHW, captions = collate_memes(memes, self.config.image, self.device)
        with self._lock:
            values: list[float] = self.classifier(pixels_BCHW, captions).tolist()
        return values


def collate_memes(
    memes: Sequence[PreparedMeme], image: ImageConfig, device: torch.device | str = "cpu"
) -> tuple[Tensor, CaptionTensors]:
    """Collate one batch on ``device``: normalized pixels [B, 3, size, size] and captions."""
    pixels_BCHW = torch.from_numpy(np.stack([meme.pixels_CHW for meme in memes])).to(device)
    captions = CaptionTensors.of(collate_captions([meme.chunks for meme in memes]), device)
    return normalize_pixels(pixels_BCHW, *channel_statistics(image, device)), captions


def channel_statistics(image: ImageConfig, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, float32 [3, 1, 1]."""
    mean_C11, std_C11 = (torch.tensor(values, device=device).view(3, 1, 1) for values in (image.mean, image.std))
    return mean_C11, std_C11


def normalize_pixels(pixels_BCHW: Tensor, mean_C11: Tensor, std_C11: Tensor) -> Tensor:
    """Scale uint8 pixels to [0, 1], then subtract the mean and divide by the standard deviation; gives float32."""
    return (pixels_BCHW.float() / 255 - mean_C11) / std_C11

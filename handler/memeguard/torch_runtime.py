"""Judge memes with torch: the reference that every other runtime is held against, and the one for CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from memeguard.bundle import load_bundle
from memeguard.captions import collate_captions
from memeguard.classifier import CaptionTensors
from memeguard.predictor import Predictor
from memeguard.preprocess import MAX_PIXELS, normalize_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from torch import Tensor

    from memeguard.bundle import Bundle
    from memeguard.config import ImageConfig
    from memeguard.predictor import PreparedMeme


class TorchPredictor(Predictor):
    """A bundle on a device.

    Attributes:
        classifier: The network, in evaluation mode.
        device: Where it lies.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "cpu",
        precision: torch.dtype = torch.float32,
        max_pixels: int = MAX_PIXELS,
        decode_timeout_s: float | None = None,
    ) -> None:
        """``precision`` is what the towers multiply in: float32, or bfloat16 under autocast."""
        config = bundle.classifier.config
        super().__init__(config, bundle.tokenizer, max_pixels=max_pixels, decode_timeout_s=decode_timeout_s)
        self.device = torch.device(device)
        self.classifier = bundle.classifier.to(self.device).eval()
        self.precision = "bf16" if precision == torch.bfloat16 else "f32"

    @classmethod
    def from_folder(cls, directory: Path, *, device: str = "cpu") -> Self:
        """The bundle in ``directory``, in float32; raises ``BundleError``."""
        return cls(load_bundle(directory), device=device)

    @torch.inference_mode()
    def logits(self, memes: Sequence[PreparedMeme]) -> list[float]:
        """The offensive logit of each meme of one batch."""
        if not memes:
            return []
        pixels_BCHW, captions = collate_memes(memes, self.config.image, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits_B = self.classifier(pixels_BCHW, captions)
        values: list[float] = logits_B.float().tolist()
        return values


def collate_memes(
    memes: Sequence[PreparedMeme], image: ImageConfig, device: torch.device | str = "cpu"
) -> tuple[Tensor, CaptionTensors]:
    """One batch as the classifier takes it, on ``device``: normalized pixels [B, 3, size, size] and captions."""
    pixels = normalize_pixels(np.stack([meme.pixels_CHW for meme in memes]), image.mean, image.std)
    captions = collate_captions([meme.chunks for meme in memes])
    return torch.from_numpy(pixels).to(device), CaptionTensors.of(captions, device)

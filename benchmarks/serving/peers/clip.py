"""The classifier that every peer serves: transformers' CLIPModel in fp32 and a linear head.

It runs in the peers' own environments and imports nothing of this project.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MAX_TOKENS = 77


class PreparedMeme(NamedTuple):
    """Pixels [1, 3, size, size] and the caption as it came."""

    pixels: torch.Tensor
    text: str


class ClipClassifier:
    """Loads once, prepares memes one by one and classifies them in batches."""

    def __init__(self, backbone: str | Path) -> None:
        folder = str(backbone)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self._processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self._clip = CLIPModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False
        ).eval()
        self._head = torch.nn.Linear(2 * self._clip.config.projection_dim, 1)

    def prepare(self, image: bytes, text: str) -> PreparedMeme:
        """Decode a picture as CLIP's own transform does."""
        picture = Image.open(io.BytesIO(image)).convert("RGB")
        return PreparedMeme(self._processor(images=picture, return_tensors="pt")["pixel_values"], text)

    @torch.inference_mode()
    def predict(self, memes: Sequence[PreparedMeme]) -> list[dict[str, Any]]:
        """Answer each meme of a batch."""
        captions = [meme.text for meme in memes]
        tokens = self._tokenizer(captions, padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt")
        outputs = self._clip(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            pixel_values=torch.cat([meme.pixels for meme in memes]),
        )
        features = torch.cat([outputs.image_embeds, outputs.text_embeds], dim=-1)
        probabilities = torch.sigmoid(-self._head(features)).squeeze(-1).tolist()
        return [
            {"prediction": "Non-offensive" if probability >= 0.5 else "Offensive", "probability": probability}  # noqa: PLR2004
            for probability in probabilities
        ]

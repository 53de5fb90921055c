"""The network: CLIP's two towers and a fusion head that sees how picture and words interact, down to one logit.

Does not know files: weights come and go through ``bundle``.

Shape suffixes: B memes, N text chunks (N >= B), C channels, H height, W width, T tokens, D CLIP's shared width,
P the head's projection width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel

if TYPE_CHECKING:
    from memeguard.config import HeadConfig, ModelConfig


class CaptionBatch(NamedTuple):
    """The chunks of a batch of captions.

    Attributes:
        tokens_NT: Token ids, int64, padded on the right to the longest chunk.
        last_N: Position of each chunk's end token, int64.
        meme_N: Index of the meme each chunk belongs to, int64 in [0, num_memes).
        num_memes: B.
    """

    tokens_NT: Tensor
    last_N: Tensor
    meme_N: Tensor
    num_memes: int

    def to(self, device: torch.device) -> CaptionBatch:
        """The same batch on another device."""
        return CaptionBatch(self.tokens_NT.to(device), self.last_N.to(device), self.meme_N.to(device), self.num_memes)


def collate_captions(captions: list[list[list[int]]]) -> CaptionBatch:
    """Lay the chunks of several captions (``CaptionTokenizer.encode``) into one padded batch."""
    chunks = [chunk for caption in captions for chunk in caption]
    meme_N = [index for index, caption in enumerate(captions) for _ in caption]
    tokens_NT = torch.zeros(len(chunks), max(map(len, chunks)), dtype=torch.long)
    for row, chunk in enumerate(chunks):
        tokens_NT[row, : len(chunk)] = torch.tensor(chunk)
    last_N = torch.tensor([len(chunk) - 1 for chunk in chunks])
    return CaptionBatch(tokens_NT, last_N, torch.tensor(meme_N), len(captions))


class FusionHead(nn.Module):
    """Project both modalities, lay their element-wise product beside them, and read one logit off.

    A linear layer on a concatenation can only add what picture and words say; the product lets one turn the
    other's meaning round (Hate-CLIPper's "align" fusion, Kumar & Nandakumar 2022).
    """

    def __init__(self, feature_dim: int, config: HeadConfig) -> None:
        super().__init__()
        self.modalities = config.modalities
        projected, fused, hidden = (nn.Dropout(rate) for rate in config.dropout)
        self.image_projection = nn.Linear(feature_dim, config.projection_dim)
        self.text_projection = nn.Linear(feature_dim, config.projection_dim)
        self.projection_dropout = projected
        num_inputs = 3 if config.modalities == "both" else 1
        self.classifier = nn.Sequential(
            fused,
            nn.Linear(num_inputs * config.projection_dim, config.hidden_dim),
            nn.GELU(),
            hidden,
            nn.Linear(config.hidden_dim, 1),
        )

    def forward(self, image_BD: Tensor, text_BD: Tensor) -> Tensor:
        """Return logits [B]; positive means offensive."""
        image_BP = self._project(self.image_projection, image_BD)
        text_BP = self._project(self.text_projection, text_BD)
        inputs = {"both": [image_BP * text_BP, image_BP, text_BP], "image": [image_BP], "text": [text_BP]}
        logits_B: Tensor = self.classifier(torch.cat(inputs[self.modalities], dim=-1)).squeeze(-1)
        return logits_B

    def _project(self, projection: nn.Linear, features_BD: Tensor) -> Tensor:
        projected_BP: Tensor = self.projection_dropout(projection(features_BD))
        # Unit length times sqrt(P) gives entries of about 1, so that the product of two is not vanishingly small.
        scaled_BP: Tensor = functional.normalize(projected_BP, dim=-1) * projected_BP.shape[-1] ** 0.5
        return scaled_BP


class MemeClassifier(nn.Module):
    """CLIP's towers and the fusion head."""

    def __init__(self, config: ModelConfig, clip: CLIPModel | None = None) -> None:
        """``clip`` is built from ``config`` unless it is given; the head's weights are random."""
        super().__init__()
        self.config = config
        self.clip = CLIPModel(CLIPConfig(**config.clip)) if clip is None else clip
        self.head = FusionHead(self.clip.projection_dim, config.head)

    def encode_images(self, pixels_BCHW: Tensor) -> Tensor:
        """Picture features [B, D], of unit length, from normalized float32 pixels."""
        pooled = self.clip.vision_model(pixel_values=pixels_BCHW).pooler_output
        return functional.normalize(self.clip.visual_projection(pooled), dim=-1)

    def encode_captions(self, captions: CaptionBatch) -> Tensor:
        """Caption features [B, D]: the mean over a caption's chunks of their unit-length features.

        The text tower is causal, so padding on the right cannot reach the end token and no mask is needed. The end
        token's position is known here; transformers' own pooling looks for an id that older CLIP configurations
        name wrongly (``eos_token_id: 2``).
        """
        hidden_NTD = self.clip.text_model(input_ids=captions.tokens_NT).last_hidden_state
        rows_N = torch.arange(len(captions.last_N), device=hidden_NTD.device)
        chunks_ND = functional.normalize(self.clip.text_projection(hidden_NTD[rows_N, captions.last_N]), dim=-1)
        zeros_BD = chunks_ND.new_zeros(captions.num_memes, chunks_ND.shape[-1])
        sums_BD = zeros_BD.index_add(0, captions.meme_N, chunks_ND)
        counts_B = torch.bincount(captions.meme_N, minlength=captions.num_memes)
        return sums_BD / counts_B[:, None]

    def forward(self, pixels_BCHW: Tensor, captions: CaptionBatch) -> Tensor:
        """Return logits [B]; positive means offensive."""
        logits_B: Tensor = self.head(self.encode_images(pixels_BCHW), self.encode_captions(captions))
        return logits_B

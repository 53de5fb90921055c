"""The network: a backbone's two towers, and a fusion head that computes one logit from both features.

Shape suffixes: B memes, N text chunks (N >= B), C channels, H height, W width, T tokens, D the towers' shared width,
P the head's projection width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from memeguard.towers import build_backbone, encode_texts

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from memeguard.captions import CaptionBatch
    from memeguard.config import HeadConfig, ModelConfig


class CaptionTensors(NamedTuple):
    """A ``CaptionBatch`` as tensors."""

    tokens_NT: Tensor
    last_N: Tensor
    meme_N: Tensor
    num_memes: int

    @classmethod
    def of(cls, batch: CaptionBatch, device: torch.device | str = "cpu") -> CaptionTensors:
        """Move ``batch`` to ``device``."""
        tokens_NT, last_N, meme_N = (torch.from_numpy(array).to(device) for array in batch[:3])
        return cls(tokens_NT, last_N, meme_N, batch.num_memes)


class FusionHead(nn.Module):
    """Project both modalities, concatenate them and their element-wise product, and compute one logit.

    A linear layer on a concatenation can only add what picture and words say. With the product, one can invert the
    meaning of the other (Hate-CLIPper's "align" fusion, Kumar & Nandakumar 2022).
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
        # Unit length times sqrt(P) gives entries of about 1, so that their products do not vanish.
        scaled_BP: Tensor = functional.normalize(projected_BP, dim=-1) * projected_BP.shape[-1] ** 0.5
        return scaled_BP


class MemeClassifier(nn.Module):
    """The towers of a backbone and the fusion head.

    Attributes:
        config: The model's configuration.
        clip: The backbone, whichever its kind: weights in a bundle are named after this attribute.
        head: The fusion head.
        feature_dim: Width D of the features of both towers.
    """

    def __init__(self, config: ModelConfig, clip: PreTrainedModel | None = None) -> None:
        """Build ``clip`` from ``config`` unless it is given; the head's weights are random."""
        super().__init__()
        self.config = config
        backbone = config.read_backbone()
        self.feature_dim, self._pooling = backbone.feature_dim, backbone.family.pooling
        self.clip = build_backbone(backbone) if clip is None else clip
        self.head = FusionHead(self.feature_dim, config.head)

    def encode_images(self, pixels_BCHW: Tensor) -> Tensor:
        """Compute picture features float32 [B, D] of unit length from normalized pixels."""
        features_BD = self.clip.get_image_features(pixel_values=pixels_BCHW).pooler_output
        return functional.normalize(features_BD.float(), dim=-1)

    def encode_chunks(self, tokens_NT: Tensor, last_N: Tensor) -> Tensor:
        """Compute text features float32 [N, D] of unit length of chunks that end at the positions ``last_N``."""
        features_ND = encode_texts(self.clip, self._pooling, tokens_NT, last_N)
        return functional.normalize(features_ND.float(), dim=-1)

    def encode_captions(self, captions: CaptionTensors) -> Tensor:
        """Compute caption features [B, D], see ``pool_chunks``."""
        chunks_ND = self.encode_chunks(captions.tokens_NT, captions.last_N)
        return self.pool_chunks(chunks_ND, captions.meme_N, captions.num_memes)

    def pool_chunks(self, chunks_ND: Tensor, meme_N: Tensor, num_memes: int) -> Tensor:
        """Average the features of each caption's chunks: caption features [B, D]."""
        zeros_BD = chunks_ND.new_zeros(num_memes, chunks_ND.shape[-1])
        sums_BD = zeros_BD.index_add(0, meme_N, chunks_ND)
        counts_B = torch.bincount(meme_N, minlength=num_memes)
        return sums_BD / counts_B[:, None]

    def forward(self, pixels_BCHW: Tensor, captions: CaptionTensors) -> Tensor:
        """Return logits [B]; positive means offensive."""
        logits_B: Tensor = self.head(self.encode_images(pixels_BCHW), self.encode_captions(captions))
        return logits_B

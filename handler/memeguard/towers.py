"""Build a backbone with transformers' own classes, and compute features of texts as these classes do.

Shape suffixes: N text chunks, T tokens, D the towers' shared width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import transformers

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from memeguard.backbone_config import BackboneConfig, Pooling


def find_class(model: str) -> Any:  # noqa: ANN401 - transformers imports its classes lazily, without types
    """Return the class of transformers called ``model``, a name of ``backbone_config.FAMILIES``."""
    return getattr(transformers, model)


def build_backbone(config: BackboneConfig) -> PreTrainedModel:
    """Build the backbone with random weights."""
    kind = find_class(config.family.model)
    backbone: PreTrainedModel = kind(kind.config_class(**config.to_transformers()))
    return backbone


def encode_texts(backbone: Any, pooling: Pooling, tokens_NT: Tensor, last_N: Tensor) -> Tensor:  # noqa: ANN401
    """Compute text features [N, D], which are not of unit length, of chunks that end at the positions ``last_N``."""
    is_masked = pooling in ("first", "pooler")
    mask = {"attention_mask": _mask_padding(tokens_NT, last_N, backbone.dtype)} if is_masked else {}
    features_ND: Tensor
    if pooling in ("padded", "pooler"):
        features_ND = backbone.get_text_features(input_ids=tokens_NT, **mask).pooler_output
        return features_ND
    # "last": A token attends to those before it, so that padding on the right does not reach the last one. The pooling
    # of transformers searches for an id that is wrong in older CLIP configurations (``eos_token_id: 2``).
    # "first": The pooling of transformers selects a column by a number, for which OpenVINO 2026.4 computes a wrong
    # shape, [1, N, D], once AltCLIP is quantized.
    hidden_NTD = backbone.text_model(input_ids=tokens_NT, **mask).last_hidden_state
    rows_N = torch.arange(hidden_NTD.shape[0], device=hidden_NTD.device)
    places_N = last_N if pooling == "last" else torch.zeros_like(last_N)
    features_ND = backbone.text_projection(hidden_NTD[rows_N, places_N])
    return features_ND


def _mask_padding(tokens_NT: Tensor, last_N: Tensor, dtype: torch.dtype) -> Tensor:
    """Make what is added to attention scores, [N, 1, 1, T]: a large negative number where a chunk has ended.

    A mask of two dimensions would do, but transformers then looks whether there is padding at all; neither a CUDA graph
    nor a traced network can.
    """
    positions_T = torch.arange(tokens_NT.shape[1], device=tokens_NT.device)
    is_padding_NT = positions_T > last_N[:, None]
    return (is_padding_NT.to(dtype) * torch.finfo(dtype).min)[:, None, None, :]

"""Quantize both towers: weights and activations in 8 bits, their ranges read off memes that pass through.

Post-training static quantization by NNCF, with SmoothQuant (Xiao et al. 2023) for the outliers of transformers'
activations. Does not know whether the result is good enough to serve; ``archiving.proof`` tells.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import nncf
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
from nncf.quantization.range_estimator import RangeEstimatorParametersSet

from memeguard.captions import collate_captions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import openvino

    from memeguard.predictor import PreparedMeme

# Measured with the starter on HarMeme's validation memes (benchmarks/README.md): quantized attention moved one logit by
# 2.7 and was slower than attention in float; ranges that hold every value that was seen, instead of most, moved logits
# by at most 0.16 instead of 0.28.
_IN_FLOAT: Final = nncf.IgnoredScope(types=["ScaledDotProductAttention"], validate=False)
_RANGES: Final = AdvancedQuantizationParameters(activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX)


def quantize_towers(
    image: openvino.Model, text: openvino.Model, memes: Sequence[PreparedMeme]
) -> tuple[openvino.Model, openvino.Model]:
    """Picture and text tower in 8 bits; attention itself, embeddings' sums and norms stay as they are.

    Args:
        image: Takes pixels [B, C, H, W].
        text: Takes tokens [N, T] and the last token's place [N].
        memes: Some hundred of those that it will judge.
    """
    pixels = [{"pixels_BCHW": meme.pixels_CHW[None]} for meme in memes]
    batches = [collate_captions([[chunk]]) for meme in memes for chunk in meme.chunks]
    chunks = [{"tokens_NT": batch.tokens_NT, "last_N": batch.last_N} for batch in batches]
    return _quantize(image, pixels), _quantize(text, chunks)


def _quantize(network: openvino.Model, inputs: Sequence[dict[str, Any]]) -> openvino.Model:
    nncf.set_log_level(logging.ERROR)  # it names every layer it leaves alone
    return nncf.quantize(
        network,
        nncf.Dataset(inputs),
        subset_size=len(inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=_IN_FLOAT,
        advanced_parameters=_RANGES,
    )

"""Quantize weights and activations of both towers to int8, with ranges calibrated on memes.

Post-training static quantization by NNCF, with SmoothQuant (Xiao et al. 2023) for the outliers of transformers'
activations. ``archiving.proof`` checks whether the result is good enough to serve.
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
# 2.7 and was slower than attention in float; ranges of all observed values, instead of most, moved logits by at most
# 0.16 instead of 0.28.
_IN_FLOAT: Final = nncf.IgnoredScope(types=["ScaledDotProductAttention"], validate=False)
_RANGES: Final = AdvancedQuantizationParameters(activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX)


def quantize_towers(
    image: openvino.Model, text: openvino.Model, memes: Sequence[PreparedMeme]
) -> tuple[openvino.Model, openvino.Model]:
    """Quantize picture and text tower; attention itself, sums of embeddings and norms stay in float.

    Args:
        image: Network that takes pixels [B, C, H, W].
        text: Network that takes tokens [N, T] and the position of the last token [N].
        memes: Some hundred memes to calibrate with.
    """
    pixels = [{"pixels_BCHW": meme.pixels_CHW[None]} for meme in memes]
    batches = [collate_captions([[chunk]]) for meme in memes for chunk in meme.chunks]
    chunks = [{"tokens_NT": batch.tokens_NT, "last_N": batch.last_N} for batch in batches]
    return _quantize(image, pixels), _quantize(text, chunks)


def _quantize(network: openvino.Model, inputs: Sequence[dict[str, Any]]) -> openvino.Model:
    nncf.set_log_level(logging.ERROR)  # it logs every layer that it skips
    return nncf.quantize(
        network,
        nncf.Dataset(inputs),
        subset_size=len(inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=_IN_FLOAT,
        advanced_parameters=_RANGES,
    )

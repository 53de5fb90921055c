"""Convert a classifier into the networks that ``memeguard.openvino_runtime`` compiles, quantized if memes are given.

``archiving.proof`` checks whether the result is good enough to serve.

Shape suffixes: B memes, N text chunks, T tokens, D CLIP's shared width, C channels, H height, W width.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING

import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn

from memeguard.bundle_files import OPENVINO_CHECKSUMS, OPENVINO_FILES, OPENVINO_NETWORKS, hash_file, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from memeguard.classifier import MemeClassifier
    from memeguard.predictor import PreparedMeme


class _ImageEncoder(nn.Module):
    """The picture tower, which takes uint8 pixels."""

    _mean_C11: Tensor
    _std_C11: Tensor

    def __init__(self, classifier: MemeClassifier) -> None:
        super().__init__()
        self._classifier = classifier
        image = classifier.config.image
        self.register_buffer("_mean_C11", 255 * torch.tensor(image.mean)[:, None, None])
        self.register_buffer("_std_C11", 255 * torch.tensor(image.std)[:, None, None])

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Return picture features [B, D]."""
        return self._classifier.encode_images((pixels_BCHW.float() - self._mean_C11) / self._std_C11)


class _ChunkEncoder(nn.Module):
    """The text tower."""

    def __init__(self, classifier: MemeClassifier) -> None:
        super().__init__()
        self._classifier = classifier

    def forward(self, tokens_NT: Tensor, last_N: Tensor) -> Tensor:
        """Return text features [N, D]."""
        return self._classifier.encode_chunks(tokens_NT, last_N)


def convert_to_openvino(
    classifier: MemeClassifier, directory: Path, *, calibration: Sequence[PreparedMeme] = ()
) -> None:
    """Write both towers and the head, with constants in half precision, and the hashes of all into ``directory``.

    The networks take any number of memes, chunks and tokens.

    Args:
        classifier: Network in float32.
        directory: Folder of a bundle.
        calibration: Memes by which the towers are quantized; without any they are not.
    """
    size, context = classifier.config.image.size, classifier.config.text.context_length
    num_tokens = min(9, context) if classifier.config.text.pad_id is None else context
    tokens_NT = torch.zeros(3, num_tokens, dtype=torch.int64)
    features_BD = torch.zeros(2, classifier.feature_dim)
    parts: list[tuple[nn.Module, tuple[Tensor, ...]]] = [
        (_ImageEncoder(classifier), (torch.zeros(2, 3, size, size, dtype=torch.uint8),)),
        (_ChunkEncoder(classifier), (tokens_NT, torch.tensor([2, 1, 2]))),
        (classifier.head, (features_BD, features_BD)),
    ]
    networks = [_convert(module, example) for module, example in parts]
    if calibration:
        from archiving.quantization import quantize_towers  # noqa: PLC0415 - importing it takes two seconds

        networks[:2] = quantize_towers(networks[0], networks[1], calibration)
    (directory / OPENVINO_CHECKSUMS).parent.mkdir()
    for name, network in zip(OPENVINO_NETWORKS, networks, strict=True):
        openvino.save_model(network, directory / name, compress_to_fp16=True)
    write_json(directory / OPENVINO_CHECKSUMS, {name: hash_file(directory / name) for name in OPENVINO_FILES})


def _convert(module: nn.Module, example: tuple[Tensor, ...]) -> openvino.Model:
    # The frontend itself: openvino.convert_model sends telemetry if OpenVINO's telemetry package is installed.
    frontend = FrontEndManager().load_by_framework("pytorch")
    with _quiet(), torch.no_grad():
        decoder = TorchScriptPythonDecoder(module.eval(), example_input=example)
        network = frontend.convert(frontend.load(decoder))
    network.validate_nodes_and_infer_types()
    return network


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings of tracing about shapes; the proof of the archive shows that other shapes work."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)

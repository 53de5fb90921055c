"""Convert a classifier into the network that ``memeguard.openvino_runtime`` compiles.

Does not know whether the result is good enough to serve; ``training.archive`` proves that.

Shape suffixes: B memes, N text chunks, T tokens, C channels, H height, W width.
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

from memeguard.bundle_files import OPENVINO_CHECKSUMS, OPENVINO_CONSTANTS, OPENVINO_NETWORK, hash_file, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from memeguard.classifier import MemeClassifier


class _Network(nn.Module):
    """The classifier from raw pixels on; captions are averaged over their chunks by a matrix.

    Counting chunks and adding them up by index, as ``MemeClassifier`` does, converts less well than one product.
    """

    _mean_C11: Tensor
    _std_C11: Tensor

    def __init__(self, classifier: MemeClassifier) -> None:
        super().__init__()
        self._classifier = classifier
        image = classifier.config.image
        self.register_buffer("_mean_C11", 255 * torch.tensor(image.mean)[:, None, None])
        self.register_buffer("_std_C11", 255 * torch.tensor(image.std)[:, None, None])

    def forward(self, pixels_BCHW: Tensor, tokens_NT: Tensor, last_N: Tensor, weights_BN: Tensor) -> Tensor:
        """Return logits [B] for uint8 pixels."""
        normalized_BCHW = (pixels_BCHW.float() - self._mean_C11) / self._std_C11
        captions_BD = weights_BN @ self._classifier.encode_chunks(tokens_NT, last_N)
        logits_B: Tensor = self._classifier.head(self._classifier.encode_images(normalized_BCHW), captions_BD)
        return logits_B


def convert_to_openvino(classifier: MemeClassifier, directory: Path) -> None:
    """Write the network, its constants in half precision, and the hashes of both into ``directory``.

    Any number of memes, chunks and tokens may be given to it.
    """
    size, context = classifier.config.image.size, classifier.config.text.context_length
    example = (
        torch.zeros(2, 3, size, size, dtype=torch.uint8),
        torch.zeros(3, min(9, context), dtype=torch.int64),
        torch.tensor([2, 1, 2]),
        torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]),
    )
    # The frontend by itself, for openvino.convert_model reports its use to its makers where their package is there.
    frontend = FrontEndManager().load_by_framework("pytorch")
    with _quiet(), torch.no_grad():
        decoder = TorchScriptPythonDecoder(_Network(classifier).eval(), example_input=example)
        network = frontend.convert(frontend.load(decoder))
    network.validate_nodes_and_infer_types()
    openvino.save_model(network, directory / OPENVINO_NETWORK, compress_to_fp16=True)
    hashes = {name: hash_file(directory / name) for name in (OPENVINO_NETWORK, OPENVINO_CONSTANTS)}
    write_json(directory / OPENVINO_CHECKSUMS, {"sha256": hashes})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Tracing warns of every shape that Python looks at; that the result takes other shapes is what archives prove."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)

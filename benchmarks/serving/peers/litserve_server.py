"""LitServe with dynamic batching, as https://lightning.ai/docs/litserve/features/batching has it.

    BATCH_SIZE=16 python litserve_server.py BACKBONE PORT

``decode_request`` works on one request, ``predict`` on a batch; waiting 50 ms for company is the documentation's
figure.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import litserve
from clip import ClipClassifier

if TYPE_CHECKING:
    from clip import PreparedMeme


class MemeAPI(litserve.LitAPI):
    """The four steps LitServe asks for."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Load the model in the worker."""
        self._classifier = ClipClassifier(sys.argv[1])

    def decode_request(self, request) -> PreparedMeme:  # noqa: ANN001 - LitServe would parse what is annotated
        """Decode one meme from a form of starlette's."""
        return self._classifier.prepare(request["image"].file.read(), request["text"])

    def predict(self, x: list[PreparedMeme]) -> list[dict[str, Any]]:
        """Classify a batch."""
        return self._classifier.predict(x)

    def batch(self, inputs: list[PreparedMeme]) -> list[PreparedMeme]:
        """Keep the memes of a batch as they are; ``predict`` lays them together."""
        return inputs

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One answer for each."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """As it is."""
        return output


if __name__ == "__main__":
    api = MemeAPI(max_batch_size=int(os.environ["BATCH_SIZE"]), batch_timeout=0.05)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")

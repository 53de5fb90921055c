"""The handler that https://pytorch.org/serve/custom_service.html would have one write: a BaseHandler's four methods.

The delay of a batch is that of the documentation's "Batch Inference with TorchServe".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clip import ClipClassifier, PreparedMeme
from ts.torch_handler.base_handler import BaseHandler  # noqa: TID251 - a handler, in an archive of its own


class ClipHandler(BaseHandler):
    """Picture and caption in, verdict out."""

    def initialize(self, context: Any) -> None:  # noqa: ANN401 - TorchServe's
        """Load the model that lies in the archive."""
        self.context = context
        self.manifest = context.manifest
        self.model = ClipClassifier(Path(context.system_properties["model_dir"]) / "backbone")
        self.initialized = True

    def preprocess(self, data: list[dict[str, Any]]) -> list[PreparedMeme]:
        """Decode every meme of a batch."""
        return [self.model.prepare(bytes(row["image"]), bytes(row["text"]).decode()) for row in data]

    def inference(self, data: list[PreparedMeme]) -> list[dict[str, Any]]:
        """Classify the batch."""
        return self.model.predict(data)

    def postprocess(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As it is."""
        return data

"""BentoML with adaptive batching, as https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html has it.

    BACKBONE=… BATCH_SIZE=16 bentoml serve bentoml_service:MemeService --port PORT

A batchable endpoint takes one parameter, so that the documentation puts picture and caption into one pydantic model and
a second service before it, which takes single requests.
"""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003 - BentoML and pydantic look at the annotations
from typing import Any

import bentoml
from clip import ClipClassifier
from pydantic import BaseModel


class MemeInput(BaseModel):
    """One request: a picture's bytes and its caption.

    The documentation's example hands on a path; under load BentoML 1.4 removes files of a batch it has yet to read.
    """

    image: bytes
    text: str


@bentoml.service(workers=1)
class BatchService:
    """Classifies batches."""

    def __init__(self) -> None:
        self._classifier = ClipClassifier(os.environ["BACKBONE"])

    # Past max_latency_ms it answers 503; the documentation's 1000 would refuse most of 32 clients.
    @bentoml.api(batchable=True, max_batch_size=int(os.environ["BATCH_SIZE"]), max_latency_ms=10000)
    def predict(self, inputs: list[MemeInput]) -> list[dict[str, Any]]:
        """Answer every meme of a batch."""
        return self._classifier.predict([self._classifier.prepare(meme.image, meme.text) for meme in inputs])


@bentoml.service(workers=1)
class MemeService:
    """Takes single requests and hands them on, many at once."""

    batch = bentoml.depends(BatchService)

    @bentoml.api(route="/predict")
    async def predict(self, image: Path, text: str) -> dict[str, Any]:
        """Answer one meme."""
        picture = image.read_bytes()  # noqa: ASYNC240 - some 30 kB from a file that was just written
        answers = await self.batch.to_async.predict([MemeInput(image=picture, text=text)])
        return answers[0]

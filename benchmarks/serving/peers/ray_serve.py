"""Ray Serve with dynamic batching, as https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html has it.

    BATCH_SIZE=16 python ray_serve.py BACKBONE PORT TEMPORARY_FOLDER

One replica that reserves both cores (the guide to performance: num_cpus, OMP_NUM_THREADS); the batch is a power of two,
the wait the default of 10 ms, and max_ongoing_requests lets a batch fill, which its default of 5 would not.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import ray
from clip import ClipClassifier
from ray import serve
from starlette.requests import Request  # noqa: TC002 - Ray looks at the annotation

if TYPE_CHECKING:
    from clip import PreparedMeme

_CORES = len(os.sched_getaffinity(0))


@serve.deployment(num_replicas=1, max_ongoing_requests=100, ray_actor_options={"num_cpus": _CORES})
class MemeDeployment:
    """Decodes each meme as it comes and classifies them in batches."""

    def __init__(self, backbone: str) -> None:
        self._classifier = ClipClassifier(backbone)

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Answer one request."""
        form = await request.form()
        meme = self._classifier.prepare(await form["image"].read(), form["text"])
        return await self.predict(meme)

    @serve.batch(max_batch_size=int(os.environ["BATCH_SIZE"]), batch_wait_timeout_s=0.01)
    async def predict(self, memes: list[PreparedMeme]) -> list[dict[str, Any]]:
        """Classify a batch."""
        return self._classifier.predict(memes)


if __name__ == "__main__":
    ray.init(num_cpus=_CORES, include_dashboard=False, _temp_dir=sys.argv[3], object_store_memory=200 * 2**20)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])})
    serve.run(MemeDeployment.bind(sys.argv[1]), route_prefix="/predict")
    threading.Event().wait()

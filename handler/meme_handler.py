"""The handler that TorchServe's worker calls; the only file that uses the worker's API.

TorchServe requires exactly one class in this module and no function ``handle`` (ts/model_loader.py,
``_get_class_entry_point``).
"""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memeguard.errors import MemeError, detached
from memeguard.preprocess import MAX_PIXELS, DecodingLimits
from memeguard.reposts import RepostCache
from memeguard.runtimes import load_predictor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ts.context import Context

    from memeguard.predictor import PreparedMeme, Verdict
    from memeguard.reposts import Meme

logger = logging.getLogger(__name__)

LOAD_FAILURE = "memeguard cannot load"  # ``memeguard serve`` looks for these words in TorchServe's log


class MemeHandler:
    """One worker's model. ``handle`` answers a batch, and a bad row fails alone."""

    def initialize(self, context: Context) -> None:
        """Load the bundle of the unpacked archive and warm up, so that the first client does not wait.

        Raises:
            TypeError: model-config.yaml has an unknown setting under ``memeguard``.
            ValueError: A setting's value is out of range.
            BundleError: The bundle cannot be loaded.
        """
        logging.getLogger().setLevel(logging.WARNING)  # TorchServe's worker would log a line per request
        logging.getLogger("ts.metrics.caching_metric").setLevel(logging.INFO)  # Java reads metrics from these lines
        properties = context.system_properties
        self._version = context.manifest["model"]["modelVersion"]
        try:
            settings = {**(context.model_yaml_config or {}).get("memeguard", {})}
            self._reposts = RepostCache(settings.pop("repost_cache", 0))
            self._large_pictures_s = float(settings.pop("large_pictures_s", 4.0))
            limits = DecodingLimits(
                max_pixels=settings.pop("max_pixels", MAX_PIXELS), timeout_s=settings.pop("decode_timeout_s", 1.5)
            )
            num_threads = int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1  # the share of one worker
            self._predictor = load_predictor(
                Path(properties["model_dir"]) / "bundle",
                device=_device(properties.get("gpu_id")),
                num_threads=num_threads,
                limits=limits,
                **settings,
            )
            self._decoders = ThreadPoolExecutor(num_threads, thread_name_prefix="decoder")
            self._predictor.warm_up(properties.get("batch_size") or 1)
        except Exception as error:
            logger.critical("%s version %s: %s", LOAD_FAILURE, self._version, error)
            raise

    def handle(self, data: Sequence[dict[str, Any]], context: Context) -> list[dict[str, Any]]:
        """Answer every row, in order.

        Args:
            data: A row is ``{part name: value}``; ``image`` is bytes, ``text`` bytes or str.
            context: Receives each row's HTTP status.

        Returns:
            For each row, the verdict, or ``{"code", "detail"}``.
        """
        # A header applies to the whole batch, so a description is given only for a request that is alone in its batch.
        if len(data) == 1 and context.get_request_header(0, "describe") == "True":
            return [self._describe()]
        memes = [(_image_bytes(parts.get("image")), _text(parts.get("text"))) for parts in data]
        outcomes = self._reposts.answer(memes, self._predict_new)
        self._count_reposts(context)
        return [self._answer(outcome, row, context) for row, outcome in enumerate(outcomes)]

    def _count_reposts(self, context: Context) -> None:
        """Add the cache's hits and misses since the last batch to TorchServe's metrics (rollout/metrics.yaml)."""
        from ts.metrics.dimension import Dimension  # noqa: PLC0415 - importing ts has effects of its own

        for name, count in self._reposts.take_counts().items():
            if count:
                context.metrics.add_counter(name, count, dimensions=[Dimension("ModelVersion", self._version)])

    def _predict_new(self, memes: Sequence[Meme]) -> list[Verdict | Exception]:
        deadline = time.monotonic() + self._large_pictures_s
        prepared = list(self._decoders.map(lambda meme: self._prepare(meme, deadline), memes))
        verdicts = iter(self._predict([meme for meme in prepared if not isinstance(meme, Exception)]))
        return [meme if isinstance(meme, Exception) else next(verdicts) for meme in prepared]

    def _prepare(self, meme: Meme, deadline: float) -> PreparedMeme | Exception:
        try:
            return self._predictor.prepare(*meme, deadline=deadline)
        except MemeError as error:
            return detached(error)
        except Exception as error:
            logger.exception("a meme could not be prepared")
            return detached(error)

    def _predict(self, memes: list[PreparedMeme]) -> list[Verdict | Exception]:
        """Predict ``memes`` together; if that fails, one by one, so that only the cause is refused."""
        try:
            return list(self._predictor.predict(memes))
        except Exception as error:
            logger.exception("a batch of %d failed", len(memes))
            if len(memes) == 1:
                return [detached(error)]
            return [verdict for meme in memes for verdict in self._predict([meme])]

    def _answer(self, outcome: Verdict | Exception, row: int, context: Context) -> dict[str, Any]:
        if isinstance(outcome, MemeError):
            _set_status(context, outcome.status, row)
            return {"code": outcome.code, "detail": str(outcome)}
        if isinstance(outcome, Exception):
            _set_status(context, HTTPStatus.INTERNAL_SERVER_ERROR, row)
            return {"code": "internal", "detail": "the model failed on this meme"}
        return {
            "prediction": outcome.prediction,
            "probability": outcome.probability,
            "threshold": self._predictor.config.labels.threshold,
            "version": self._version,
        }

    def _describe(self) -> dict[str, Any]:
        config = self._predictor.config
        return {
            "version": self._version,
            "backbone": config.backbone,
            "threshold": config.labels.threshold,
            "operating_points": config.labels.operating_points,
        }


def _set_status(context: Context, status: HTTPStatus, row: int) -> None:
    # Python's phrases are ASCII; any other byte in one kills the worker (ts/protocol/otf_message_handler.py).
    context.set_response_status(status.value, status.phrase, row)


def _device(gpu: int | None) -> str:
    if gpu is None:
        return "cpu"
    import torch  # noqa: PLC0415 - not needed by the other runtime

    return f"cuda:{gpu}" if torch.cuda.is_available() else "cpu"


def _image_bytes(value: object) -> bytes | None:
    # A file part of type text/* reaches a worker as str. It is not a picture, but it was sent, so the answer is 415.
    if isinstance(value, str):
        return value.encode("utf-8")
    return bytes(value) if isinstance(value, bytes | bytearray) else None


def _text(value: object) -> bytes | str | None:
    # A part of type application/json reaches a worker parsed.
    return bytes(value) if isinstance(value, bytearray) else value if isinstance(value, bytes | str) else None

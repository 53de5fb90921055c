"""Report whether the process lives (/healthz) and whether it can predict (/readyz).

Readiness is a real prediction, because TorchServe's /ping stays healthy without a worker.
"""

from __future__ import annotations

import struct
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify

from proxy.answers import explain_failure, read_prediction
from proxy.problems import Problem
from proxy.upstream import UpstreamError

if TYPE_CHECKING:
    from proxy.slots import Slots
    from proxy.torchserve_client import TorchServeClient


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _grey_png(size: int) -> bytes:
    """Draw a grey square as PNG (W3C PNG, section 5): signature, IHDR, IDAT, IEND."""
    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)  # 8-bit greyscale, not interlaced
    rows = (b"\x00" + b"\x80" * size) * size  # each row starts with its filter, none
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


PROBE_IMAGE = _grey_png(32)
PROBE_TEXT = "ready?"
_FRESH_S = 1.0


class Readiness:
    """Asks for a prediction of a fixed meme; simultaneous questions share one.

    The probe waits for no slot. While all slots are taken, a prediction that a client got in the last second counts.

    Args:
        client: Asks TorchServe.
        slots: The slots of this process.
    """

    def __init__(self, client: TorchServeClient, slots: Slots) -> None:
        self.model_name = client.model_name
        self._client = client
        self._slots = slots
        self._lock = threading.Lock()
        self._began_s = 0.0  # the last probe
        self._outcome: dict[str, Any] | Problem = {}
        self._predicted_s = 0.0
        self._predicted: dict[str, Any] | None = None

    def note(self, prediction: dict[str, Any] | None) -> None:
        """Remember a client's prediction; None if TorchServe gave none."""
        self._predicted, self._predicted_s = prediction, time.monotonic()

    def ask(self) -> dict[str, Any]:
        """Return a prediction; raise 503 if there is none."""
        asked_s = time.monotonic()
        if self._slots.are_taken and self._predicted and asked_s - self._predicted_s < _FRESH_S:
            return self._predicted
        with self._lock:
            if self._began_s < asked_s:  # otherwise the probe began after this question and answers it, too
                self._began_s = time.monotonic()
                self._outcome = self._probe()
            if isinstance(self._outcome, Problem):
                raise _not_ready(self._outcome)
            return self._outcome

    def _probe(self) -> dict[str, Any] | Problem:
        try:
            return read_prediction(self._client.predict(image=PROBE_IMAGE, text=PROBE_TEXT))
        except UpstreamError as error:
            return explain_failure(error)
        except Problem as problem:
            return problem


def health_routes(readiness: Readiness) -> Blueprint:
    """Return the routes /healthz and /readyz."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    @routes.get("/readyz")
    def readyz() -> Response:
        return jsonify(status="ready", model=readiness.model_name, version=readiness.ask().get("version"))

    return routes


def _not_ready(reason: Problem) -> Problem:
    return Problem(503, "not_ready", f"{reason.code}: {reason.detail}", headers={"Retry-After": "1"})

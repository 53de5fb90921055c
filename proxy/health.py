"""Say whether the process lives (/healthz) and whether it can predict (/readyz).

Does not know what makes TorchServe ready: it asks for a real prediction, since /ping stays healthy without a worker.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify

from proxy.answers import explain_failure, read_prediction
from proxy.problems import Problem
from proxy.upstream import UpstreamError

if TYPE_CHECKING:
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


def health_routes(client: TorchServeClient) -> Blueprint:
    """Return the two routes; readiness is asked of ``client``."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    @routes.get("/readyz")
    def readyz() -> Response:
        try:
            prediction = read_prediction(client.predict(image=PROBE_IMAGE, text=PROBE_TEXT))
        except UpstreamError as error:
            raise _not_ready(explain_failure(error)) from error
        except Problem as problem:
            raise _not_ready(problem) from problem
        return jsonify(status="ready", model=client.model_name, version=prediction.get("version"))

    return routes


def _not_ready(reason: Problem) -> Problem:
    return Problem(503, "not_ready", f"{reason.code}: {reason.detail}", headers={"Retry-After": "1"})

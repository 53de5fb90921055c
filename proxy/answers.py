"""Turn TorchServe's answers and failures into answers for clients."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from proxy.problems import Problem
from proxy.request_id import current_request_id
from proxy.upstream import UpstreamAnswer, UpstreamError, UpstreamTimeout

PREDICTIONS = ("Offensive", "Non-offensive")
# A worker uses these to report what is wrong with one meme, as {"code": ..., "detail": ...}.
_MEME_STATUSES = frozenset({400, 413, 415, 422})
# TorchServe answers 503 if its queue is full or the model has no worker, 507 if a worker is out of memory.
_BUSY_STATUSES = frozenset({503, 507})
_WORKER_DIED = "InternalServerException"  # with status 500, for every meme of the worker's batch
_RETRY_SOON = {"Retry-After": "1"}

_log = logging.getLogger(__name__)


def read_prediction(answer: UpstreamAnswer) -> dict[str, Any]:
    """Return the worker's prediction with all its members, after checking that it is one.

    Raises:
        Problem: The worker's error for a bad meme; 503 if a later try may succeed; otherwise 502.
    """
    if answer.status == HTTPStatus.OK and _is_prediction(answer.body):
        prediction: dict[str, Any] = answer.body
        return prediction
    problem = _meme_problem(answer) or _server_problem(answer)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.warning(
            "request %s: TorchServe answered %d %s", current_request_id(), answer.status, answer.error_type or ""
        )
    raise problem


def explain_failure(error: UpstreamError) -> Problem:
    """Return the problem for a missing answer of TorchServe, and log its cause."""
    _log.warning("request %s: %s (%s)", current_request_id(), error, error.__cause__)
    if isinstance(error, UpstreamTimeout):
        return Problem(504, "upstream_timeout", str(error))
    return Problem(503, "upstream_unavailable", str(error), headers=_RETRY_SOON)


def _is_prediction(body: object) -> bool:
    if not isinstance(body, dict) or body.get("prediction") not in PREDICTIONS:
        return False
    probability = body.get("probability")
    # NaN and Infinity cannot occur here: ``UpstreamAnswer.parse`` refuses them.
    return isinstance(probability, (int, float)) and not isinstance(probability, bool) and 0 <= probability <= 1


def _meme_problem(answer: UpstreamAnswer) -> Problem | None:
    body = answer.body
    if answer.status in _MEME_STATUSES and isinstance(body, dict):
        code, detail = body.get("code"), body.get("detail")
        if isinstance(code, str) and isinstance(detail, str):
            return Problem(answer.status, code, detail)
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:  # TorchServe's own 413 has no body
        return Problem(413, "body_too_large", "the meme exceeds TorchServe's max_request_size")
    return None


def _server_problem(answer: UpstreamAnswer) -> Problem:
    if answer.status in _BUSY_STATUSES or (answer.status, answer.error_type) == (500, _WORKER_DIED):
        return Problem(503, "upstream_busy", "the model is busy or starting; try again", headers=_RETRY_SOON)
    return Problem(502, "bad_upstream_answer", f"TorchServe gave no usable answer (status {answer.status})")

"""What is done to a server, and how its answers are summarized."""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING, Any

from benchmarks.open_loop import NO_ANSWER, PREDICT, TIMED_OUT, Answer, Stream, send_stream
from benchmarks.overload.slow import slow_clients

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NUM_NORMAL = 3  # requests in a row that make normal latency
_RECOVERY_PATIENCE_S = 120.0
_OK = 200
_UNAVAILABLE = 503


def flood(port: int, make_request: Callable[[int], bytes], *, factor: float, seconds: float) -> dict[str, Any]:
    """Measure the capacity with 32 clients, then send ``factor`` times as much.

    Goodput is what was answered 200 within the clients' patience and before the flood ended.
    """
    one = _predictions(send_stream(port, make_request, Stream(seconds=3.0)))
    closed = _predictions(send_stream(port, make_request, Stream(seconds=10.0, clients=32, patience_s=30.0)))
    capacity = sum(answer.status == _OK for answer in closed) / 10.0
    stream = Stream(seconds=seconds, rate=capacity * factor, has_probes=True)
    answers = send_stream(port, make_request, stream)
    recovery_s = _recovery_s(port, make_request, 2 * _spread(one, _OK)["p95"])
    asked = _predictions(answers)
    end_s = min(answer.began_s for answer in asked) + seconds
    goodput = sum(answer.status == _OK and answer.ended_s <= end_s for answer in asked) / seconds
    return {
        "capacity_per_s": capacity,
        "offered_per_s": len(asked) / seconds,
        "goodput_per_s": goodput,
        "goodput_of_capacity": goodput / capacity,
        "answers": _statuses(asked),
        "answered_s": _spread(asked, _OK),
        "refused_s": _spread(asked, _UNAVAILABLE),
        **{
            path: {"answers": _statuses(probes), "seconds": _spread(probes, _OK)}
            for path in ("/healthz", "/readyz")
            if (probes := [answer for answer in answers if answer.kind == path])
        },
        "normal_latency_again_after_s": recovery_s,
    }


def hold(port: int, make_request: Callable[[int], bytes], *, each: int, seconds: float) -> dict[str, Any]:
    """Let four honest clients ask, first alone, then beside ``each`` slow heads and as many slow bodies."""
    stream = Stream(seconds=seconds, clients=4, has_probes=True)
    alone = send_stream(port, make_request, stream)
    with slow_clients(port, heads=each, bodies=each):
        beside = send_stream(port, make_request, stream)
    return {
        name: {
            "answers": _statuses(_predictions(answers)),
            "per_s": sum(answer.status == _OK for answer in _predictions(answers)) / seconds,
            "seconds": _spread(_predictions(answers), _OK),
            "/healthz": _spread([answer for answer in answers if answer.kind == "/healthz"], _OK),
        }
        for name, answers in (("alone", alone), ("beside_slow_clients", beside))
    }


def _recovery_s(port: int, make_request: Callable[[int], bytes], normal_s: float) -> float:
    """Seconds until a few requests in a row take no longer than ``normal_s``."""
    began_s = time.monotonic()
    num_normal = 0
    while num_normal < _NUM_NORMAL and time.monotonic() - began_s < _RECOVERY_PATIENCE_S:
        asked_s = time.monotonic()
        answers = _predictions(send_stream(port, make_request, Stream(seconds=0.005, patience_s=30.0)))
        is_normal = bool(answers) and answers[0].status == _OK and answers[0].seconds <= normal_s
        num_normal = num_normal + 1 if is_normal else 0
        if num_normal == 1:
            normal_since_s = asked_s
    return normal_since_s - began_s if num_normal else _RECOVERY_PATIENCE_S


def _predictions(answers: Sequence[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.kind == PREDICT]


def _statuses(answers: Sequence[Answer]) -> dict[str, int]:
    names = {TIMED_OUT: "timed out", NO_ANSWER: "failed"}
    counts = collections.Counter(names.get(answer.status, str(answer.status)) for answer in answers)
    return dict(sorted(counts.items()))


def _spread(answers: Sequence[Answer], status: int) -> dict[str, float]:
    seconds = sorted(answer.seconds for answer in answers if answer.status == status)
    if not seconds:
        return {}
    return {f"p{percent}": seconds[int((len(seconds) - 1) * percent / 100)] for percent in (50, 95, 99, 100)}

"""Load a running server at 80 % of its capacity, then at three times as much, and report what was answered and used."""

from __future__ import annotations

import collections
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks.open_loop import NO_ANSWER, TIMED_OUT, Answer, Stream, send_stream
from benchmarks.serving.load import Load, percentile, run_load
from tests.soak.memory import MemorySample, MemorySampler, growth
from tests.traffic import Verdicts, draw_memes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psutil

GROUPS: Final = ("proxy", "java", "workers")
_PATIENCE_S: Final = 35.0  # above the longest answer the proxy promises
_CLIENTS: Final = 32
_MAX_OPEN: Final = 2_000
_WARM: Final = 0.2  # share of a phase whose memory is not compared
_NAMES: Final = {NO_ANSWER: "no answer", TIMED_OUT: "timed out"}


@dataclass(frozen=True, kw_only=True)
class SoakSettings:
    """How long each phase takes and how far memory may drift; rates are shares of the measured capacity."""

    capacity_s: float = 20.0
    normal_s: float = 1800.0
    overload_s: float = 300.0
    normal_load: float = 0.8
    overload: float = 3.0
    max_drift: float = 0.05
    sample_every_s: float = 5.0


def soak(root: psutil.Process, port: int, settings: SoakSettings) -> dict[str, Any]:
    """Run both phases against the server whose first process is ``root``; returns what to print and to judge."""
    memes = draw_memes()
    verdicts = Verdicts(memes, port)
    load = Load(clients=_CLIENTS, seconds=settings.capacity_s, max_requests=10**6)
    capacity = run_load(port, draw_memes(name="capacity").request, load).requests_per_s
    report: dict[str, Any] = {"capacity_per_s": capacity, "phases": {}}
    with MemorySampler(root, interval_s=settings.sample_every_s).sampling() as memory:
        for name, share, seconds in (
            ("normal", settings.normal_load, settings.normal_s),
            ("overload", settings.overload, settings.overload_s),
        ):
            begin = time.monotonic()
            stream = Stream(seconds=seconds, rate=share * capacity, patience_s=_PATIENCE_S, max_open=_MAX_OPEN)
            answers = send_stream(port, draw_memes(name=name).request, stream)
            samples = [each for each in memory.samples if each.at_s >= begin + _WARM * seconds]
            report["phases"][name] = _describe(answers, verdicts, share * capacity, samples)
    report["problems"] = find_problems(report, settings)
    return report


def _describe(
    answers: Sequence[Answer], verdicts: Verdicts, rate: float, samples: Sequence[MemorySample]
) -> dict[str, Any]:
    good = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 503]
    return {
        "offered_per_s": rate,
        "answers": dict(collections.Counter(_NAMES.get(answer.status, str(answer.status)) for answer in answers)),
        "wrong": sum(not verdicts.is_right(answer) for answer in good),
        "refused_without_retry_after": sum(not answer.retry_after for answer in refused),
        "p50_s": percentile([answer.seconds for answer in good], 50),
        "p99_s": percentile([answer.seconds for answer in good], 99),
        "refused_p99_s": percentile([answer.seconds for answer in refused], 99),
        "memory_mb": {group: [round(size / 2**20, 1) for size in growth(samples, group)] for group in GROUPS},
    }


def find_problems(report: dict[str, Any], settings: SoakSettings) -> list[str]:
    """What the report says that it must not say."""
    problems = []
    allowed = {"normal": {"200"}, "overload": {"200", "503"}}
    for name, phase in report["phases"].items():
        if others := set(phase["answers"]) - allowed[name]:
            problems.append(f"{name}: answers {', '.join(sorted(others))} beside {', '.join(sorted(allowed[name]))}")
        problems += [f"{name}: {phase[key]} {key}" for key in ("wrong", "refused_without_retry_after") if phase[key]]
    for group, (before, after) in report["phases"]["normal"]["memory_mb"].items():
        if not before:
            problems.append(f"no memory was seen of {group}")
        elif abs(after / before - 1) > settings.max_drift:
            problems.append(
                f"memory of {group} went from {before} to {after} MB; the limit is {settings.max_drift:.0%}"
            )
    return problems


def print_report(report: dict[str, Any]) -> None:
    """A table for people."""
    print(f"capacity {report['capacity_per_s']:.1f} requests/s ({_CLIENTS} clients)")
    for name, phase in report["phases"].items():
        answers = ", ".join(f"{count} x {status}" for status, count in sorted(phase["answers"].items()))
        print(
            f"{name}: {phase['offered_per_s']:.1f}/s offered; {answers}; {phase['wrong']} wrong; "
            f"p50 {phase['p50_s'] * 1000:.0f} ms, p99 {phase['p99_s'] * 1000:.0f} ms, "
            f"refusals p99 {phase['refused_p99_s'] * 1000:.0f} ms"
        )
        for group, (before, after) in phase["memory_mb"].items():
            print(f"  {group:8} {before:8.1f} MB -> {after:8.1f} MB")
    print("\n".join(report["problems"]) or "no problem found")

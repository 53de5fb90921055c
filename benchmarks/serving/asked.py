"""What the project asks of itself, beside what was seen: ratios of medians over the repetitions of one run.

Does not know how anything was measured.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from benchmarks.serving.results import Results

OURS: Final = "memeguard"
DIRECT: Final = "memeguard-direct"
FLOAT: Final = "memeguard-float"
ORIGINAL: Final = "original"
_GB: Final = 1e9


class Answer(NamedTuple):
    """One line of the table; ``seen`` is nan where it was not measured."""

    asked: str
    target: str
    seen: float
    unit: str
    met: bool


def median(results: Results, member: str, kind: str = "cells", **wanted: object) -> float:
    """The median of ``member`` over the rows that match; nan of none."""
    values = [row[member] for row in results.rows(kind, **wanted)]
    return statistics.median(values) if values else math.nan


def targets_seen(results: Results) -> list[str]:
    """Names of the targets in the main table, in the order of the first repetition."""
    return list(dict.fromkeys(row["target"] for row in results.rows("cells")))


def ceiling(results: Results) -> float:
    """Memes a second of the bare model: the median of each batch size, and of these the largest."""
    sizes = {row["batch_size"] for row in results.rows("ceiling")}
    return max((median(results, "memes_per_s", "ceiling", batch_size=size) for size in sizes), default=math.nan)


def proxy_cost_s(results: Results) -> float:
    """The median over the repetitions of p50 through the proxy less p50 without it, for one client."""
    pairs = [
        row["p50_s"] - direct["p50_s"]
        for row in results.rows("cells", target=OURS, clients=1)
        for direct in results.rows("cells", target=DIRECT, clients=1, repetition=row["repetition"])
    ]
    return statistics.median(pairs) if pairs else math.nan


def compare(results: Results) -> list[Answer]:
    """Every line of "asked / target / seen"."""
    most = max((row["clients"] for row in results.rows("cells")), default=0)

    def speed(name: str) -> float:
        return median(results, "requests_per_s", target=name, clients=most)

    def p50(name: str) -> float:
        return median(results, "p50_s", target=name, clients=1)

    peers = [name for name in targets_seen(results) if name not in {OURS, DIRECT, FLOAT, ORIGINAL}]
    worker = max((row["peak_process_bytes"] for row in results.rows("cells", target=OURS)), default=math.nan)
    ours = f"requests/s, {most} clients, through the proxy"
    return [
        _at_least(f"{ours}: times the original's design", 7.0, speed(OURS) / (speed(ORIGINAL) or math.nan), "x"),
        _at_most("p50, one client: times the original's design", 0.38, p50(OURS) / p50(ORIGINAL), "x"),
        *(_at_least(f"{ours}: times {peer}", 1.5, speed(OURS) / (speed(peer) or math.nan), "x") for peer in peers),
        _at_least(f"{ours}: share of the bare model's", 65.0, 100 * speed(OURS) / ceiling(results), "%"),
        _at_most("p50 of a repost, one client", 5.0, 1e3 * median(results, "p50_s", "costs", what="repost"), "ms"),
        _at_most("the proxy's own cost, p50", 3.0, 1e3 * proxy_cost_s(results), "ms"),
        _at_most("peak memory of a worker", 1.5, worker / _GB, "GB"),
        _at_most("start to ready", 20.0, median(results, "start_s", "starts", target=OURS), "s"),
    ]


def _at_least(asked: str, target: float, seen: float, unit: str) -> Answer:
    return Answer(asked, f"≥ {target:g} {unit}", seen, unit, seen >= target)


def _at_most(asked: str, target: float, seen: float, unit: str) -> Answer:
    return Answer(asked, f"≤ {target:g} {unit}", seen, unit, seen <= target)

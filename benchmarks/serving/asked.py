"""Compare medians over the repetitions of one run with what the project asks of itself."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.serving.targets import DIRECT, FLASK, OURS, describe, peer_of

if TYPE_CHECKING:
    from benchmarks.serving.results import Results

_GB: Final = 1e9


class Answer(NamedTuple):
    """One line of the table; ``seen`` is nan where it was not measured."""

    asked: str
    target: str
    seen: float
    unit: str
    met: bool


def median(results: Results, member: str, kind: str = "cells", **wanted: object) -> float:
    """Return the median of ``member`` over the rows that match; nan if none does."""
    values = [row[member] for row in results.rows(kind, **wanted)]
    return statistics.median(values) if values else math.nan


def targets_seen(results: Results) -> list[str]:
    """List the targets of the main table in the order of the first repetition."""
    return list(dict.fromkeys(row["target"] for row in results.rows("cells")))


def most_clients(results: Results) -> int:
    """Return the largest number of clients that was measured; 0 if none was."""
    return max((row["clients"] for row in results.rows("cells")), default=0)


def speed(results: Results, target: str) -> float:
    """Return the median requests per second of ``target`` with the most clients; nan if it was not measured."""
    return median(results, "requests_per_s", target=target, clients=most_clients(results))


def best_targets(results: Results) -> list[str]:
    """List this project's targets, and of each peer the batch size that answers the most requests per second."""
    best: dict[str, str] = {}
    for target in targets_seen(results):
        name = peer_of(target) or target
        if name not in best or not speed(results, target) <= speed(results, best[name]):
            best[name] = target
    return list(best.values())


def ceiling(results: Results) -> float:
    """Return the memes per second of the bare model: of the medians of all batch sizes the largest."""
    sizes = {row["batch_size"] for row in results.rows("ceiling")}
    return max((median(results, "memes_per_s", "ceiling", batch_size=size) for size in sizes), default=math.nan)


def proxy_cost_s(results: Results) -> float:
    """Return the median over the repetitions of p50 through the proxy less p50 without it, for one client."""
    pairs = [
        row["p50_s"] - direct["p50_s"]
        for row in results.rows("cells", target=OURS, clients=1)
        for direct in results.rows("cells", target=DIRECT, clients=1, repetition=row["repetition"])
    ]
    return statistics.median(pairs) if pairs else math.nan


def compare(results: Results) -> list[Answer]:
    """List every requirement beside what was measured."""

    def p50(name: str) -> float:
        return median(results, "p50_s", target=name, clients=1)

    peers = [name for name in best_targets(results) if peer_of(name) not in {None, FLASK}]
    worker = max((row["peak_process_bytes"] for row in results.rows("cells", target=OURS)), default=math.nan)
    ours = f"requests/s, {most_clients(results)} clients, through the proxy"
    flask = describe(FLASK)
    own_speed = speed(results, OURS)
    return [
        _at_least(f"{ours}: times {flask}", 7.0, own_speed / (speed(results, FLASK) or math.nan), "x"),
        _at_most(f"p50, one client: times {flask}", 0.38, p50(OURS) / p50(FLASK), "x"),
        *(
            _at_least(f"{ours}: times {describe(peer)}", 1.5, own_speed / (speed(results, peer) or math.nan), "x")
            for peer in peers
        ),
        _at_least(f"{ours}: share of the bare model's", 65.0, 100 * own_speed / ceiling(results), "%"),
        _at_most("p50 of a repost, one client", 5.0, 1e3 * median(results, "p50_s", "costs", what="repost"), "ms"),
        _at_most("the proxy's own cost, p50", 3.0, 1e3 * proxy_cost_s(results), "ms"),
        _at_most("peak memory of a worker", 1.5, worker / _GB, "GB"),
        _at_most("start to ready", 20.0, median(results, "start_s", "starts", target=OURS), "s"),
    ]


def _at_least(asked: str, target: float, seen: float, unit: str) -> Answer:
    return Answer(asked, f"≥ {target:g} {unit}", seen, unit, seen >= target)


def _at_most(asked: str, target: float, seen: float, unit: str) -> Answer:
    return Answer(asked, f"≤ {target:g} {unit}", seen, unit, seen <= target)

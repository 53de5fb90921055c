"""Measure one cell: one target with a number of clients, and the server's processor time and memory meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.serving.load import Load, run_load
from benchmarks.serving.memes import make_requests
from benchmarks.serving.memory import PeakMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.serving.memes import SentMeme
    from benchmarks.serving.servers import Target


def measure_cell(
    target: Target, memes: Sequence[SentMeme], load: Load, *, cell: str, distinct: bool = True
) -> dict[str, Any]:
    """Load ``target`` and return seconds, bytes and requests per second.

    ``cell`` names the cell: the same name gives the same requests, whichever server answers them.
    """
    make = make_requests(memes, target.path, target.headers, cell=cell, distinct=distinct)
    memory = PeakMemory(target.family)
    cpu_s = target.family.cpu_seconds()
    with memory.sampling():
        result = run_load(target.port, make, load)
    spent_s = target.family.cpu_seconds() - cpu_s
    return {
        "target": target.name,
        "clients": load.clients,
        "requests_per_s": result.requests_per_s,
        "p50_s": result.percentile(50),
        "p95_s": result.percentile(95),
        "p99_s": result.percentile(99),
        "num_requests": result.num_requests,
        "num_measured": len(result.latencies_s),
        "num_errors": result.num_errors,
        "first_error": result.first_error,
        "cpu_s_per_request": spent_s / max(1, result.num_requests),
        "generator_cpu_s_per_request": result.generator_cpu_s / max(1, result.num_requests),
        "peak_bytes": memory.total,
        "peak_process_bytes": memory.largest,
    }

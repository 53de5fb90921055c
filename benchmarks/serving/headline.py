"""Measure the main table: every server with every number of clients, in interleaved repetitions.

All servers run, but only the one that is measured is awake: the others' processes are stopped (SIGSTOP, all but
BentoML's), so that none takes a core while it idles. A repetition visits every server with every number of clients
before the next one begins, and each starts with another server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.serving.ceiling import BATCH_SIZES, measure_ceiling
from benchmarks.serving.cells import measure_cell
from benchmarks.serving.load import Load, run_load
from benchmarks.serving.memes import make_requests

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.serving.servers import Target
    from benchmarks.serving.settings import Run

_WARM_S: Final = 2.0
_WAKE_S: Final = 30.0
_AROUND_CELL_S: Final = 2.0  # to wake a server, to wait for the last answers, to stop it again
_LOAD_BARE_S: Final = 10.0


def measure_headline(run: Run, targets: Sequence[Target], bare: Path | None) -> None:
    """Measure repetitions until all are done or the next one does not fit into the run's time.

    The first repetition is measured even if it exceeds that time: without it there is nothing to report.

    Args:
        run: Takes the figures.
        targets: Servers that have been started and stopped with SIGSTOP.
        bare: The archive whose model is measured without a server, once in each repetition.
    """
    settings = run.settings
    num_cells = len(targets) * len(settings.clients)
    cell_s = settings.seconds + min(_WARM_S, settings.seconds) + _AROUND_CELL_S
    repetition_s = num_cells * cell_s + (len(BATCH_SIZES) * settings.ceiling_seconds + _LOAD_BARE_S if bare else 0.0)
    run.clock.announce(
        f"the headline: {settings.repetitions} repetitions of {num_cells} cells of about {cell_s:.0f} s, "
        f"{settings.repetitions * repetition_s / 60:.1f} minutes; {run.clock.left_s / 60:.1f} are left"
    )
    for repetition in range(settings.repetitions):
        what = f"repetition {repetition + 1} of {settings.repetitions}"
        if repetition == 0:
            run.clock.announce(what)
        elif not run.clock.allows(repetition_s, what):
            break
        begin_s = run.clock.spent_s
        num_measured = _measure_repetition(run, targets, repetition)
        _measure_bare(run, bare, repetition)
        if num_measured == num_cells:
            repetition_s = run.clock.spent_s - begin_s


def _measure_repetition(run: Run, targets: Sequence[Target], repetition: int) -> int:
    """Measure what a resumed run lacks, the most clients first; return the number of cells."""
    missing = [
        (target, clients)
        for clients in sorted(run.settings.clients, reverse=True)
        for target in rotate(targets, repetition)
        if not run.results.rows("cells", target=target.name, clients=clients, repetition=repetition)
    ]
    for target, clients in missing:
        _measure(run, target, clients, repetition)
    return len(missing)


def _measure(run: Run, target: Target, clients: int, repetition: int) -> None:
    load = Load(clients=clients, seconds=run.settings.seconds, warm_s=min(_WARM_S, run.settings.seconds))
    target.family.resume()
    try:
        _wake(run, target)
        row = measure_cell(target, run.memes, load, cell=f"{clients} clients, repetition {repetition}")
    finally:
        target.family.pause()
    run.results.add("cells", repetition=repetition, **row)
    numbers = f"{row['requests_per_s']:8.2f}/s  p50 {1000 * row['p50_s']:7.1f} ms  {row['num_errors']} errors"
    print(f"  {clients:3d} clients  {target.name:18s} {numbers}", flush=True)


def _wake(run: Run, target: Target) -> None:
    """Wait for one answer: after minutes of sleep TorchServe was seen to replace its worker, which takes seconds."""
    make = make_requests(run.memes, target.path, target.headers, cell="wake", distinct=True)
    run_load(target.port, make, Load(clients=1, seconds=_WAKE_S, max_requests=1))


def _measure_bare(run: Run, bare: Path | None, repetition: int) -> None:
    if bare is not None and not run.results.rows("ceiling", repetition=repetition):
        for row in measure_ceiling(bare, run.memes, seconds=run.settings.ceiling_seconds):
            run.results.add("ceiling", repetition=repetition, **row)


def rotate(targets: Sequence[Target], by: int) -> list[Target]:
    """Begin with another server each time; the targets of one server stay neighbours."""
    families = list(dict.fromkeys(id(target.family) for target in targets))
    start = by % len(families) if families else 0
    order = [*families[start:], *families[:start]]
    return sorted(targets, key=lambda target: order.index(id(target.family)))

"""The run: make model and archive, start every server, measure in turn, end everything.

Does not know how a cell is measured or what the report says. All servers run at once, but only the one that is being
measured is awake: the others' processes are stopped (SIGSTOP, all but BentoML's), so that none takes a core while it
idles. A repetition visits every server with every number of clients before the next one begins, from another first
server each time.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from benchmarks.serving.archives import ARCHIVE, copy_archive, make_archive, make_model
from benchmarks.serving.ceiling import measure_ceiling
from benchmarks.serving.cells import measure_cell
from benchmarks.serving.clock import Clock
from benchmarks.serving.costs import UNCACHED, measure_content, measure_reposts, measure_settings
from benchmarks.serving.load import Load
from benchmarks.serving.loadgen_check import measure_generator
from benchmarks.serving.memes import read_memes
from benchmarks.serving.servers import StartError, peer_python, plan_memeguard, plan_memeguard_float, plan_peer, serving
from benchmarks.serving.settings import Run
from demo.drawing import write_demo_data

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.serving.results import Results
    from benchmarks.serving.servers import Plan, Target
    from benchmarks.serving.settings import Settings

_NUM_MEMES: Final = 2000
_NUM_DRAWN: Final = 200
_COSTS_S: Final = 360.0  # kept free for what follows the repetitions


def run_suite(settings: Settings, out: Path, results: Results) -> None:
    """Measure everything into ``results``; ``out`` takes logs, environments and what is made on the way."""
    scratch, logs = out / "scratch", out / "logs"
    shutil.rmtree(scratch, ignore_errors=True)
    for folder in (scratch, logs):
        folder.mkdir(parents=True, exist_ok=True)
    pythons = _install(settings, out / "venvs", results)
    clock = Clock(settings.minutes, results)
    memes = read_memes(settings.data_folder, _NUM_MEMES if settings.data_folder else _NUM_DRAWN)
    run = Run(settings=settings, memes=memes, results=results, clock=clock, scratch=scratch, logs=logs)
    try:
        archive = _make_archives(run)
        plans = [plan_memeguard(scratch / "uncached"), plan_memeguard_float(scratch / "float-uncached")]
        plans += [plan_peer(name, scratch / "backbone", python) for name, python in pythons.items()]
        measure_generator(run)
        _compare(run, plans)
        if settings.restarts:
            measure_settings(run, archive)
            measure_reposts(run, archive)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        results.finish(minutes=round(clock.spent_s / 60, 1))


def _install(settings: Settings, venvs: Path, results: Results) -> dict[str, Path]:
    pythons = {}
    for name in settings.peers:
        try:
            pythons[name] = peer_python(name, venvs if settings.own_venvs else None)
        except subprocess.CalledProcessError as error:
            results.add("notes", text=f"{name} could not be installed: {error}")
    return pythons


def _make_archives(run: Run) -> Path:
    """Make the model and its archives, in int8 and in float, and copies without cache; return the first."""
    run.clock.allows(0.0, f"the model ({run.settings.model}) and its archive")
    make_model(run.settings.model, run.scratch)
    data = run.settings.data_folder
    if data is None:
        data = run.scratch / "data"
        write_demo_data(data, num_train=_NUM_DRAWN, num_validation=_NUM_DRAWN, num_test=4)
    archive = make_archive(run.scratch / "bundle", run.scratch / "archive", "--data", str(data), "--precision", "int8")
    copy_archive(archive, run.scratch / "uncached", UNCACHED)
    in_float = make_archive(run.scratch / "bundle", run.scratch / "float", "--data", str(data), "--precision", "float")
    copy_archive(in_float, run.scratch / "float-uncached", UNCACHED)
    return archive


def _compare(run: Run, plans: Sequence[Plan]) -> None:
    """Start all servers, measure the main table, and what a meme's content costs here."""
    with contextlib.ExitStack() as stack:
        targets = [target for plan in plans for target in _start(run, plan, stack)]
        _repeat(run, targets)
        for target in targets:
            if target.name == "memeguard":
                target.family.resume()
                measure_content(run, target)


def _start(run: Run, plan: Plan, stack: contextlib.ExitStack) -> list[Target]:
    """Start a server while the others sleep, and put it to sleep too."""
    run.clock.allows(0.0, f"starting {plan.name}")
    try:
        targets = stack.enter_context(serving(plan, run.logs, run.memes[0]))
    except StartError as error:
        run.results.add("notes", text=str(error))
        return []
    run.results.add("starts", target=plan.name, start_s=targets[0].start_s)
    targets[0].family.pause()
    return targets


def _repeat(run: Run, targets: Sequence[Target]) -> None:
    settings = run.settings
    cell_s = settings.seconds + 5.0
    round_s = cell_s * len(targets) * len(settings.clients) + 4 * settings.ceiling_seconds + 15.0
    reserve_s = _COSTS_S if settings.restarts else 0.0
    for repetition in range(settings.repetitions):
        if not run.clock.allows(round_s + reserve_s, f"repetition {repetition + 1} of {settings.repetitions}"):
            break
        begin = run.clock.spent_s
        if not run.results.rows("ceiling", repetition=repetition):
            archive = run.scratch / "uncached" / ARCHIVE
            for row in measure_ceiling(archive, run.memes, seconds=settings.ceiling_seconds):
                run.results.add("ceiling", repetition=repetition, **row)
        for clients in settings.clients:
            for target in rotate(targets, repetition):
                _measure(run, target, clients, repetition)
        round_s = run.clock.spent_s - begin


def _measure(run: Run, target: Target, clients: int, repetition: int) -> None:
    if run.results.rows("cells", target=target.name, clients=clients, repetition=repetition):
        return
    load = Load(clients=clients, seconds=run.settings.seconds, warm_s=min(2.0, run.settings.seconds))
    target.family.resume()
    try:
        row = measure_cell(target, run.memes, load, cell=f"{clients} clients, repetition {repetition}")
    finally:
        target.family.pause()
    run.results.add("cells", repetition=repetition, **row)
    numbers = f"{row['requests_per_s']:8.2f}/s  p50 {1000 * row['p50_s']:7.1f} ms  {row['num_errors']} errors"
    print(f"  {clients:3d} clients  {target.name:18s} {numbers}", flush=True)


def rotate(targets: Sequence[Target], by: int) -> list[Target]:
    """Begin with another server each time; a server's own targets stay neighbours."""
    families = list(dict.fromkeys(id(target.family) for target in targets))
    start = by % len(families) if families else 0
    order = [*families[start:], *families[:start]]
    return sorted(targets, key=lambda target: order.index(id(target.family)))

"""The run: make the archives, start every server, measure the headline, then what a meme costs, and end all servers."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from benchmarks.serving.archives import ARCHIVE, copy_archive, make_archive, make_model
from benchmarks.serving.clock import Clock
from benchmarks.serving.costs import UNCACHED, measure_content, measure_reposts, measure_settings
from benchmarks.serving.headline import measure_headline
from benchmarks.serving.loadgen_check import measure_generator
from benchmarks.serving.memes import read_memes
from benchmarks.serving.servers import StartError, plan_memeguard, plan_memeguard_float, plan_peers, serving
from benchmarks.serving.settings import Run
from benchmarks.serving.targets import OURS
from benchmarks.serving.venvs import peer_python
from demo.drawing import write_demo_data

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.serving.results import Results
    from benchmarks.serving.servers import Plan, Target
    from benchmarks.serving.settings import Settings

_NUM_MEMES: Final = 2000
_NUM_DRAWN: Final = 200


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
        for name, python in pythons.items():
            plans += plan_peers(name, scratch / "backbone", python, settings.peer_batch_sizes)
        _measure_servers(run, plans)
        if settings.costs:
            measure_generator(run)
            if settings.restarts:
                measure_settings(run, settings.costs, archive)
                measure_reposts(run, settings.costs, archive)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        results.finish(minutes=round(clock.spent_s / 60, 1))


def _install(settings: Settings, venvs: Path, results: Results) -> dict[str, Path]:
    pythons = {}
    for name in settings.peers:
        try:
            pythons[name] = peer_python(name, venvs)
        except subprocess.CalledProcessError as error:
            results.add("notes", text=f"{name} could not be installed: {error}")
    return pythons


def _make_archives(run: Run) -> Path:
    """Make the model and its archives, in int8 and in float, and copies without cache; return the first."""
    run.clock.announce(f"the model ({run.settings.model}) and its archives")
    make_model(run.settings.model, run.scratch)
    data = run.settings.data_folder
    if data is None:
        data = run.scratch / "data"
        write_demo_data(data, num_train=_NUM_DRAWN, num_validation=_NUM_DRAWN, num_test=4)
    archive = make_archive(
        run.scratch / "bundle", run.scratch / "archive", "--data", str(data), "--quantization", "int8"
    )
    copy_archive(archive, run.scratch / "uncached", UNCACHED)
    in_float = make_archive(
        run.scratch / "bundle", run.scratch / "float", "--data", str(data), "--quantization", "none"
    )
    copy_archive(in_float, run.scratch / "float-uncached", UNCACHED)
    return archive


def _measure_servers(run: Run, plans: Sequence[Plan]) -> None:
    """Start all servers, measure the headline, then what a meme's content costs this project's server."""
    with contextlib.ExitStack() as stack:
        targets = [target for plan in plans for target in _start(run, plan, stack)]
        measure_headline(run, targets, run.scratch / "uncached" / ARCHIVE)
        for target in targets:
            if target.name == OURS and run.settings.costs:
                target.family.resume()
                measure_content(run, run.settings.costs, target)


def _start(run: Run, plan: Plan, stack: contextlib.ExitStack) -> list[Target]:
    """Start a server while the others sleep, and put it to sleep too."""
    run.clock.announce(f"starting {plan.name}")
    try:
        targets = stack.enter_context(serving(plan, run.logs, run.memes[0]))
    except StartError as error:
        run.results.add("notes", text=str(error))
        return []
    run.results.add("starts", target=plan.name, start_s=targets[0].start_s)
    targets[0].family.pause()
    return targets

"""The headline comes first, whatever time there is, and every peer gets the batch size of this project's archives."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from benchmarks.ports import free_ports
from benchmarks.serving.clock import Clock
from benchmarks.serving.headline import measure_headline
from benchmarks.serving.memes import read_memes
from benchmarks.serving.processes import Family
from benchmarks.serving.results import Results
from benchmarks.serving.servers import Target, plan_peers
from benchmarks.serving.settings import Run, Settings
from benchmarks.serving.targets import PEERS

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[list[Target]]:
    """Two servers that answer at once, in processes of their own."""
    with contextlib.ExitStack() as stack:
        started = []
        for name, port in zip(("first", "second"), free_ports(2), strict=True):
            command = [sys.executable, "-m", "benchmarks.serving.loadgen_check", str(port)]
            family = Family(command, log=tmp_path / name, cwd=REPOSITORY, env=os.environ, sleeps=False)
            stack.enter_context(family)
            started.append(Target(name=name, port=port, path="/", family=family, start_s=0.0))
        yield started


def measure(targets: list[Target], folder: Path, minutes: float) -> Results:
    settings = Settings(clients=(1, 2), repetitions=3, seconds=0.1, minutes=minutes)
    results = Results(folder / "results.json", {})
    clock = Clock(minutes, results)
    run = Run(settings=settings, memes=read_memes(None, 4), results=results, clock=clock, scratch=folder, logs=folder)
    measure_headline(run, targets, bare=None)
    return results


@pytest.mark.parametrize(("minutes", "num_repetitions"), [(0.0, 1), (10.0, 3)])
def test_one_repetition_is_measured_in_any_case_and_more_if_they_fit(
    targets: list[Target], tmp_path: Path, minutes: float, num_repetitions: int
) -> None:
    results = measure(targets, tmp_path, minutes)
    cells = [(row["repetition"], row["clients"], row["target"]) for row in results.rows("cells")]
    first = [(0, 2, "first"), (0, 2, "second"), (0, 1, "first"), (0, 1, "second")]
    second = [(1, 2, "second"), (1, 2, "first"), (1, 1, "second"), (1, 1, "first")]
    third = [(2, clients, name) for _, clients, name in first]
    assert cells == [*first, *second, *third][: 4 * num_repetitions]
    assert [row["what"] for row in results.rows("left_out")] == ["repetition 2 of 3"] * (num_repetitions == 1)


def test_each_peer_is_measured_with_the_batch_size_of_the_archives_and_with_8() -> None:
    settings = yaml.safe_load((REPOSITORY / "handler/model-config.yaml").read_text("utf-8"))
    sizes = Settings().peer_batch_sizes
    assert set(sizes) == {settings["batchSize"], 8}
    names = {peer: [plan.name for plan in plan_peers(peer, Path(), Path(), sizes)] for peer in PEERS}
    assert names.pop("original") == ["original"]
    assert names == {peer: [f"{peer}-16", f"{peer}-8"] for peer in ("litserve", "bentoml", "ray", "torchserve")}
    environments = [plan.env["BATCH_SIZE"] for plan in plan_peers("ray", Path(), Path(), sizes)]
    assert environments == ["16", "8"]


def test_what_a_peer_needs_is_pinned_in_one_place() -> None:
    def names(path: Path) -> set[str]:
        lines = path.read_text("utf-8").splitlines()
        return {re.sub(r"[-_.]+", "-", re.split(r"\[|==", line)[0]).lower() for line in lines if "==" in line}

    shared = names(REPOSITORY / "constraints.txt")
    peers = list((REPOSITORY / "benchmarks/serving/requirements").glob("*.txt"))
    assert len(peers) == 3
    assert {path.name: names(path) & shared for path in peers} == {path.name: set() for path in peers}

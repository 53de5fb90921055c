"""Sweeps that several processes share, that are killed and resumed. The objective is a formula, which costs nothing.

tests/training/sweep/test_results.py trains models.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from training.config import TrainingConfig, TrainingError
from training.sweep import workers
from training.sweep.plan import Plan, SweepError
from training.sweep.search_space import Range, SearchSpace, SearchSpaceError
from training.sweep.study import JOURNAL, SweepStudy
from training.sweep.workers import run_sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

    from training.sweep.leaderboard import Entry

GRID = SearchSpace(axes={"optimizer": ("sgd", "adam"), "batch_size": (8, 16, 32)}, seeds=(0, 1))
RANGES = SearchSpace(
    axes={"optimizer": ("sgd", "adam"), "learning_rate": Range(low=1e-4, high=1e-1, log=True)}, seeds=(0, 1)
)
PATIENCE_S = 60.0


def plan(space: SearchSpace = GRID, **changes: Any) -> Plan:
    settings: dict[str, Any] = {
        "settings": {"num_epochs": 3},
        "backbone": "clip",
        "backbone_sha256": "def",
        "data_sha256": "abc",
        "version": "1.0.0",
        "num_trials": None if space.is_grid else 6,
    }
    return Plan(**{"space": space, **settings, **changes})


def auroc(config: TrainingConfig) -> float:
    """Better with larger batches and learning rates around 1e-2; depends a little on the seed."""
    rate = abs(config.learning_rate - 1e-2)
    return 0.5 + config.batch_size / 100 - rate + 0.01 * config.seed + (0.05 if config.optimizer == "adam" else 0)


@dataclass(frozen=True)
class Objective:
    """Writes each call to a file, and waits in later calls until ``let_go``.

    Attributes:
        folder: Where the files are.
        wait_from: The first call that waits, counted over all processes from 1.
        fail: The optimizer that fails with seed 1, and its error.
    """

    folder: Path
    wait_from: int = 1000
    fail: tuple[str, type[Exception]] | None = None

    def __call__(self) -> Callable[[TrainingConfig], float]:
        return self.evaluate

    def evaluate(self, config: TrainingConfig) -> float:
        assert config.num_epochs == 3
        call = json.dumps([config.optimizer, config.batch_size, config.learning_rate, config.seed])
        with (self.folder / "calls").open("a", encoding="utf-8") as file:
            file.write(f"{call}\n")
        waits = self.calls.index(call) + 1 >= self.wait_from
        while waits and not (self.folder / "go").exists():
            time.sleep(0.01)
        if self.fail and config.optimizer == self.fail[0] and config.seed == 1:
            raise self.fail[1]("the loss is nan in epoch 2")
        return auroc(config)

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def let_go(self) -> None:
        (self.folder / "go").touch()


def entries(folder: Path, given: Plan) -> list[Entry]:
    return SweepStudy(folder, given).results()[0]


@contextlib.contextmanager
def started(*arguments: Any, **settings: Any) -> Iterator[SpawnProcess]:
    """``run_sweep`` in a process of its own, which is killed if the test does not end it."""
    process = multiprocessing.get_context("spawn").Process(target=run_sweep, args=arguments, kwargs=settings)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def wait_until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def find_workers(process: SpawnProcess) -> list[psutil.Process]:
    """The worker processes of a ``started`` sweep; multiprocessing has one of its own beside them."""
    return [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]


def have_ended(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_every_configuration_is_trained_once_with_every_seed_and_ranked(tmp_path: Path) -> None:
    objective = Objective(tmp_path)
    run_sweep(tmp_path / "sweep", plan(), objective, num_jobs=2)
    assert len(objective.calls) == len(set(objective.calls)) == 12
    ranked = entries(tmp_path / "sweep", plan())
    assert ranked[0].configuration == {"optimizer": "adam", "batch_size": 32}
    assert ranked[-1].configuration == {"optimizer": "sgd", "batch_size": 8}
    expected = [auroc(TrainingConfig(optimizer="adam", batch_size=32, seed=seed)) for seed in (0, 1)]
    assert list(ranked[0].aurocs.values()) == expected


def test_a_finished_sweep_trains_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        run_sweep(tmp_path / "sweep", plan(), Objective(tmp_path))
    assert len(Objective(tmp_path).calls) == 12


@pytest.mark.parametrize("space", [GRID, RANGES], ids=["grid", "ranges"])
def test_a_killed_sweep_is_resumed_with_the_same_results(tmp_path: Path, space: SearchSpace) -> None:
    """Killed in the second seed of the third configuration."""
    folder, objective = tmp_path / "sweep", Objective(tmp_path, wait_from=6)
    with started(folder, plan(space), objective) as process:
        wait_until(lambda: len(objective.calls) == 6)
        children = find_workers(process)
        assert len(children) == 1
        process.kill()
        wait_until(lambda: have_ended(children))
    assert SweepStudy(folder, plan(space)).num_finished == 2
    objective.let_go()
    run_sweep(folder, plan(space), objective)

    repeated = [call for call, times in Counter(objective.calls).items() if times > 1]
    assert repeated == [objective.calls[5]]
    assert len(objective.calls) == 12 + 1
    (tmp_path / "undisturbed").mkdir()
    run_sweep(tmp_path / "undisturbed/sweep", plan(space), Objective(tmp_path / "undisturbed"))
    assert entries(folder, plan(space)) == entries(tmp_path / "undisturbed/sweep", plan(space))


def test_two_share_a_sweep_and_one_takes_over_the_trial_of_the_other_when_that_is_killed(tmp_path: Path) -> None:
    folder, objective = tmp_path / "sweep", Objective(tmp_path)
    with started(folder, plan(), Objective(tmp_path, wait_from=1)) as first:
        wait_until(lambda: len(objective.calls) == 1)
        with started(folder, plan(), objective) as second:
            wait_until(lambda: SweepStudy(folder, plan()).num_finished == 5)
            time.sleep(1.0)  # time for the second to take a trial that the first still holds
            assert len(objective.calls) == len(set(objective.calls)) == 11
            first.kill()
            second.join(PATIENCE_S)
            assert second.exitcode == 0
    assert len(objective.calls) == 13
    assert Counter(objective.calls)[objective.calls[0]] == 2
    assert len(entries(folder, plan())) == 6


def test_a_process_that_was_stopped_keeps_its_trial(tmp_path: Path) -> None:
    """As by Ctrl-Z, or by a notebook that was closed overnight."""
    folder, objective = tmp_path / "sweep", Objective(tmp_path, wait_from=1)
    with started(folder, plan(), objective) as first:
        wait_until(lambda: len(objective.calls) == 1)
        (worker,) = find_workers(first)
        worker.suspend()
        with started(folder, plan(), Objective(tmp_path)) as second:
            wait_until(lambda: SweepStudy(folder, plan()).num_finished == 5)
            worker.resume()
            objective.let_go()
            for process in (first, second):
                process.join(PATIENCE_S)
                assert process.exitcode == 0
    assert len(objective.calls) == len(set(objective.calls)) == 12


def test_a_killed_worker_ends_the_run_with_an_error_and_its_trial_is_trained_again(tmp_path: Path) -> None:
    folder, objective = tmp_path / "sweep", Objective(tmp_path, wait_from=3)
    with started(folder, plan(), objective) as process:
        wait_until(lambda: len(objective.calls) == 3)
        (worker,) = find_workers(process)
        worker.kill()
        process.join(PATIENCE_S)
        assert process.exitcode == 1
    objective.let_go()
    run_sweep(folder, plan(), objective)
    assert len(entries(folder, plan())) == 6
    assert len(objective.calls) == 12 + 1


def test_ctrl_c_ends_every_process_and_loses_only_the_running_trainings(tmp_path: Path) -> None:
    folder, objective = tmp_path / "sweep", Objective(tmp_path, wait_from=5)
    with started(folder, plan(), objective, num_jobs=2) as process:
        wait_until(lambda: len(objective.calls) == 6)
        children = find_workers(process)
        assert len(children) == 2
        os.kill(process.pid or 0, signal.SIGINT)
        process.join(PATIENCE_S)
        assert process.exitcode == 1
        assert have_ended(children)
    objective.let_go()
    run_sweep(folder, plan(), objective)
    repeated = [call for call, times in Counter(objective.calls).items() if times > 1]
    assert repeated == objective.calls[4:6]
    assert len(objective.calls) == 12 + 2
    assert len(entries(folder, plan())) == 6


def test_a_configuration_that_cannot_be_trained_fails_alone_and_says_why(tmp_path: Path) -> None:
    study = run_sweep(tmp_path / "sweep", plan(), Objective(tmp_path, fail=("sgd", TrainingError)))
    complete, failed = study.results()
    assert {entry.configuration["optimizer"] for entry in complete} == {"adam"}
    assert [failure.configuration["batch_size"] for failure in failed] == [8, 16, 32]
    assert {failure.reason for failure in failed} == {"seed 1: the loss is nan in epoch 2"}


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (SearchSpaceError, SweepError, "^the loss is nan in epoch 2$"),
        (OSError, SweepError, "^the loss is nan in epoch 2$"),
        (ZeroDivisionError, RuntimeError, "(?s)Traceback.*test_workers.*ZeroDivisionError: the loss"),
    ],
)
def test_an_error_in_a_worker_is_raised_by_run_sweep(
    tmp_path: Path, error: type[Exception], raised: type[Exception], message: str
) -> None:
    with pytest.raises(raised, match=message):
        run_sweep(tmp_path / "sweep", plan(), Objective(tmp_path, fail=("sgd", error)), num_jobs=2)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"space": dataclasses.replace(GRID, seeds=(0, 1, 2))},
            r"search space: there seeds \[0, 1\], here seeds \[0, 1, 2\]; choose another folder",
        ),
        (
            {"space": SearchSpace(axes={"optimizer": ("sgd",)}, seeds=(0, 1))},
            r'search space: there optimizer \["sgd", "adam"\], here optimizer \["sgd"\]',
        ),
        ({"settings": {"num_epochs": 4}}, "settings: there num_epochs 3, here num_epochs 4"),
        ({"settings": {}}, "settings: there num_epochs 3, here no num_epochs"),
        ({"backbone": "tiny"}, "backbone: there clip, here tiny"),
        ({"backbone_sha256": "ghi"}, "backbone weights: there def, here ghi"),
        ({"data_sha256": "def"}, "data: there abc, here def"),
        ({"version": "2.0.0"}, r"memeguard version: there 1\.0\.0, here 2\.0\.0"),
    ],
)
def test_another_sweep_in_the_same_folder_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    SweepStudy(tmp_path / "sweep", plan())
    with pytest.raises(SweepError, match=rf"sweep holds a sweep that differs in its {message}"):
        SweepStudy(tmp_path / "sweep", plan(**change))
    assert SweepStudy(tmp_path / "sweep", plan()).num_finished == 0


def test_a_folder_of_an_earlier_format_is_refused(tmp_path: Path) -> None:
    """Its trials have their AUROCs elsewhere."""
    SweepStudy(tmp_path / "sweep", plan())
    journal = tmp_path / "sweep" / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b',"folder format":2', b""))
    with pytest.raises(SweepError, match="differs in its folder format: there None, here 2; choose another folder"):
        SweepStudy(tmp_path / "sweep", plan())


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(SweepError, match="exists and holds no sweep"):
        SweepStudy(tmp_path, plan())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_num_trials_is_for_ranges_and_ranges_need_it() -> None:
    with pytest.raises(SweepError, match="a grid of 6 configurations is tried in full; --trials is for ranges"):
        plan(num_trials=3)
    with pytest.raises(SweepError, match="say with --trials how many"):
        plan(RANGES, num_trials=None)


def test_ranges_are_sampled_within_their_ends_and_may_get_more_trials(tmp_path: Path) -> None:
    folder, objective = tmp_path / "sweep", Objective(tmp_path)
    run_sweep(folder, plan(RANGES), objective)
    first = entries(folder, plan(RANGES))
    assert len(first) == 6
    assert all(1e-4 <= entry.configuration["learning_rate"] <= 1e-1 for entry in first)
    run_sweep(folder, plan(RANGES, num_trials=8), objective)
    more = entries(folder, plan(RANGES))
    assert len(more) == 8
    assert [entry for entry in more if entry in first] == first
    assert len(objective.calls) == 16


def test_a_configuration_that_is_sampled_twice_is_trained_once(tmp_path: Path) -> None:
    space = SearchSpace(axes={"batch_size": Range(low=8, high=9)}, seeds=(0,))
    objective = Objective(tmp_path)
    study = run_sweep(tmp_path / "sweep", plan(space), objective)
    assert study.num_finished == 6
    assert len(objective.calls) == len(study.results()[0]) == 2


@pytest.mark.parametrize("torn", [b'{"op_code":6,"wor', b"\x00\x00"])
def test_a_journal_whose_last_line_is_torn_is_continued(tmp_path: Path, torn: bytes) -> None:
    """As a full disk leaves it."""
    folder, objective = tmp_path / "sweep", Objective(tmp_path)
    SweepStudy(folder, plan())
    with (folder / JOURNAL).open("ab") as journal:
        journal.write(torn)
    run_sweep(folder, plan(), objective)
    assert len(entries(folder, plan())) == 6


def train_alone(folder: Path, given: Plan) -> list[Entry]:
    """Run a sweep in this process."""
    study = SweepStudy(folder, given)
    while study.num_finished < given.num_configurations:
        with study.claim() as trial:
            assert trial is not None
            workers._train_trial(study, trial, given, auroc)
    return study.results()[0]


@pytest.mark.parametrize("space", [GRID, RANGES], ids=["grid", "ranges"])
def test_a_sweep_killed_between_any_two_writes_is_resumed_with_the_same_results(
    tmp_path: Path, space: SearchSpace
) -> None:
    expected = train_alone(tmp_path / "whole", plan(space))
    lines = (tmp_path / "whole" / JOURNAL).read_bytes().splitlines(keepends=True)
    assert len(lines) > 40
    for number in range(len(lines)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / JOURNAL).write_bytes(b"".join(lines[:number]))
        assert train_alone(folder, plan(space)) == expected

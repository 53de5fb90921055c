"""Sweeps: shared by processes, killed and gone on with, and never mixed up with another. The objective costs nothing.

tests/training/sweep/test_results.py trains for real.
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

import pytest
from filelock import FileLock

from training.config import TrainingConfig, TrainingError
from training.sweep.locks import is_present
from training.sweep.search_space import Range, SearchSpace, SearchSpaceError
from training.sweep.study import JOURNAL, Plan, SweepError, SweepStudy
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
    num_trials = None if space.is_grid else 6
    settings: dict[str, Any] = {"num_epochs": 3}
    given = Plan(
        space=space,
        settings=settings,
        backbone="clip",
        backbone_sha256="def",
        data_sha256="abc",
        version="1.0.0",
        num_trials=num_trials,
    )
    return dataclasses.replace(given, **changes)


def judge(config: TrainingConfig) -> float:
    """Better with larger batches and learning rates around 1e-2, and a little by the seed."""
    rate = abs(config.learning_rate - 1e-2)
    return 0.5 + config.batch_size / 100 - rate + 0.01 * config.seed + (0.05 if config.optimizer == "adam" else 0)


@dataclass(frozen=True)
class Judge:
    """An objective that notes in a file what it is asked, and waits as long as another file holds it up.

    Attributes:
        folder: Where both files are.
        held_up: The call, counted over all processes, from which on it waits.
        fail: What it does instead of an answer, for which optimizer.
    """

    folder: Path
    held_up: int = 1000
    fail: tuple[str, type[Exception]] | None = None

    def __call__(self) -> Callable[[TrainingConfig], float]:
        return self.evaluate

    def evaluate(self, config: TrainingConfig) -> float:
        assert config.num_epochs == 3
        call = json.dumps([config.optimizer, config.batch_size, config.learning_rate, config.seed])
        with (self.folder / "calls").open("a", encoding="utf-8") as file:
            file.write(f"{call}\n")
        while len(self.calls) >= self.held_up and not (self.folder / "go").exists():
            time.sleep(0.01)
        if self.fail and config.optimizer == self.fail[0] and config.seed == 1:
            raise self.fail[1]("the loss is nan in epoch 2")
        return judge(config)

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
    """``run_sweep`` in a process of its own, which is ended if the test does not."""
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
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def workers(folder: Path) -> list[int]:
    """Process ids of those that live."""
    with FileLock(folder / "locks/study"):
        names = [path.name for path in (folder / "workers").iterdir()]
        return [int(name.split("-")[0]) for name in names if is_present(folder / "workers", name)]


def test_every_configuration_is_run_once_with_every_seed_and_ranked(tmp_path: Path) -> None:
    objective = Judge(tmp_path)
    run_sweep(tmp_path / "sweep", plan(), objective, num_jobs=2)
    assert len(objective.calls) == len(set(objective.calls)) == 12
    ranked = entries(tmp_path / "sweep", plan())
    assert ranked[0].configuration == {"optimizer": "adam", "batch_size": 32}
    assert ranked[-1].configuration == {"optimizer": "sgd", "batch_size": 8}
    expected = [judge(TrainingConfig(optimizer="adam", batch_size=32, seed=seed)) for seed in (0, 1)]
    assert list(ranked[0].aurocs.values()) == expected


def test_a_sweep_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    for _ in range(2):
        run_sweep(tmp_path / "sweep", plan(), Judge(tmp_path))
    assert len(Judge(tmp_path).calls) == 12


@pytest.mark.parametrize("space", [GRID, RANGES], ids=["grid", "ranges"])
def test_a_sweep_that_is_killed_goes_on_where_it_was(tmp_path: Path, space: SearchSpace) -> None:
    """Killed amid the second seed of the third configuration."""
    folder, objective = tmp_path / "sweep", Judge(tmp_path, held_up=6)
    with started(folder, plan(space), objective) as process:
        wait_until(lambda: len(objective.calls) == 6)
        process.kill()
        process.join()
        wait_until(lambda: not workers(folder))  # a worker does not outlive its starter
    assert SweepStudy(folder, plan(space)).num_finished == 2
    objective.let_go()
    run_sweep(folder, plan(space), objective)

    repeated = [call for call, times in Counter(objective.calls).items() if times > 1]
    assert repeated == [objective.calls[5]]
    assert len(objective.calls) == 12 + 1
    (tmp_path / "undisturbed").mkdir()
    run_sweep(tmp_path / "undisturbed/sweep", plan(space), Judge(tmp_path / "undisturbed"))
    assert entries(folder, plan(space)) == entries(tmp_path / "undisturbed/sweep", plan(space))


def test_two_at_once_share_a_sweep_and_one_takes_over_what_the_other_dies_of(tmp_path: Path) -> None:
    folder, objective = tmp_path / "sweep", Judge(tmp_path)
    held_up = Judge(tmp_path, held_up=1)
    with started(folder, plan(), held_up) as first:
        wait_until(lambda: len(objective.calls) == 1)
        with started(folder, plan(), objective) as second:
            wait_until(lambda: len(objective.calls) == 11)
            time.sleep(1.0)  # the second has nothing left but what the first, which lives, is at
            assert len(objective.calls) == len(set(objective.calls)) == 11
            first.kill()
            second.join(PATIENCE_S)
            assert second.exitcode == 0
    assert len(objective.calls) == 13
    assert Counter(objective.calls)[objective.calls[0]] == 2
    assert len(entries(folder, plan())) == 6


def test_a_worker_that_is_killed_ends_the_run_in_words_and_is_made_up_for(tmp_path: Path) -> None:
    folder, objective = tmp_path / "sweep", Judge(tmp_path, held_up=3)
    with started(folder, plan(), objective) as process:
        wait_until(lambda: len(objective.calls) == 3)
        (worker,) = workers(folder)
        os.kill(worker, signal.SIGKILL)
        process.join(PATIENCE_S)
        assert process.exitcode == 1
    objective.let_go()
    run_sweep(folder, plan(), objective)
    assert len(entries(folder, plan())) == 6
    assert not list((folder / "workers").iterdir())


def test_ctrl_c_ends_everything_at_once_and_loses_no_seed(tmp_path: Path) -> None:
    folder, objective = tmp_path / "sweep", Judge(tmp_path, held_up=6)
    with started(folder, plan(), objective, num_jobs=2) as process:
        wait_until(lambda: len(objective.calls) >= 6 and len(workers(folder)) == 2)
        time.sleep(0.2)  # whoever is not held up is done with its call
        os.kill(process.pid or 0, signal.SIGINT)
        process.join(PATIENCE_S)
        assert process.exitcode == 1
        assert not workers(folder)
    num_calls = len(objective.calls)
    objective.let_go()
    run_sweep(folder, plan(), objective)
    assert len(objective.calls) == 12 + 2 or len(objective.calls) == 12 + 1  # those that both, or one, were at
    assert num_calls <= 7
    assert len(entries(folder, plan())) == 6


def test_a_configuration_that_explodes_fails_alone_and_says_why(tmp_path: Path) -> None:
    study = run_sweep(tmp_path / "sweep", plan(), Judge(tmp_path, fail=("sgd", TrainingError)))
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
def test_what_goes_wrong_in_a_worker_is_said_by_its_starter(
    tmp_path: Path, error: type[Exception], raised: type[Exception], message: str
) -> None:
    with pytest.raises(raised, match=message):
        run_sweep(tmp_path / "sweep", plan(), Judge(tmp_path, fail=("sgd", error)), num_jobs=2)
    assert not workers(tmp_path / "sweep")


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
    assert SweepStudy(tmp_path / "sweep", plan()).num_planned == 6


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(SweepError, match="exists and holds no sweep"):
        SweepStudy(tmp_path, plan())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_trials_are_for_ranges_and_ranges_need_them(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="a grid of 6 configurations is tried in full; --trials is for ranges"):
        SweepStudy(tmp_path, plan(num_trials=3))
    with pytest.raises(SweepError, match="say with --trials how many"):
        SweepStudy(tmp_path, plan(RANGES, num_trials=None))
    assert not list(tmp_path.iterdir())


def test_ranges_are_sampled_within_their_ends_and_may_be_given_more_trials(tmp_path: Path) -> None:
    folder, objective = tmp_path / "sweep", Judge(tmp_path)
    run_sweep(folder, plan(RANGES), objective)
    first = entries(folder, plan(RANGES))
    assert len(first) == 6
    assert all(1e-4 <= entry.configuration["learning_rate"] <= 1e-1 for entry in first)
    run_sweep(folder, plan(RANGES, num_trials=8), objective)
    more = entries(folder, plan(RANGES))
    assert len(more) == 8
    assert [entry for entry in more if entry in first] == first
    assert len(objective.calls) == 16


def test_what_sampling_draws_twice_is_trained_once(tmp_path: Path) -> None:
    space = SearchSpace(axes={"batch_size": Range(low=8, high=9)}, seeds=(0,))
    objective = Judge(tmp_path)
    study = run_sweep(tmp_path / "sweep", plan(space), objective)
    assert study.num_finished == 6
    assert len(objective.calls) == len(study.results()[0]) == 2


@pytest.mark.parametrize("torn", [b'{"op_code":6,"wor', b"\x00\x00"])
def test_a_journal_whose_last_line_is_torn_can_be_written_on(tmp_path: Path, torn: bytes) -> None:
    """As a kill, or a disk that was full, leaves it."""
    folder, objective = tmp_path / "sweep", Judge(tmp_path)
    SweepStudy(folder, plan())
    with (folder / JOURNAL).open("ab") as journal:
        journal.write(torn)
    run_sweep(folder, plan(), objective)
    assert len(entries(folder, plan())) == 6


@pytest.mark.parametrize("num_lines", [1, 2, 3, 5, 8])
def test_a_sweep_that_was_killed_while_it_was_set_up_is_set_up_in_full(tmp_path: Path, num_lines: int) -> None:
    SweepStudy(tmp_path / "whole", plan())
    lines = (tmp_path / "whole" / JOURNAL).read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / JOURNAL).write_bytes(b"".join(lines[:num_lines]))
    assert SweepStudy(tmp_path / "cut", plan()).num_planned == 6

"""Run a sweep: worker processes that take one configuration after the other, and a bar that tells how far they are.

Several sweeps may run on one folder at once, and any may be killed; the same command goes on. Does not know what an
objective trains, nor what becomes of the ranking.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Final, Never, Protocol

from filelock import FileLock
from tqdm import tqdm

from memeguard.errors import MemeguardError
from training.config import TrainingConfig, TrainingError
from training.sweep.study import Plan, SweepError, SweepStudy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

    from optuna.trial import Trial

_POLL_S: Final = 0.3


class Prepare(Protocol):
    """Makes the objective in a worker process, which it has to reach as a pickle. One process prepares at a time."""

    def __call__(self) -> Callable[[TrainingConfig], float]:
        """The function from a configuration to its best validation AUROC."""


def run_sweep(folder: Path, plan: Plan, prepare: Prepare, *, num_jobs: int = 1) -> SweepStudy:
    """Work on the sweep in ``folder`` until all of it is done, by whomever.

    However this function is left, its workers have ended.

    Args:
        folder: The sweep's; new, or one begun with the same plan.
        plan: What to try.
        prepare: Makes the objective, in each worker.
        num_jobs: How many worker processes.

    Raises:
        SweepError: The folder holds something else, or a worker cannot go on.
    """
    study = SweepStudy(folder, plan)
    if study.num_finished == study.num_planned:
        return study
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        workers: dict[Connection, SpawnProcess] = {}
        for number in range(min(num_jobs, study.num_planned - study.num_finished)):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(sender, folder, plan, prepare), kwargs={"loud": number == 0})
            stack.callback(_end, process)  # first: Ctrl-C may come at any moment
            process.start()
            sender.close()
            workers[receiver] = process
        _watch(study, len(plan.space.seeds), workers)
    return study


def _end(process: SpawnProcess) -> None:
    if process.pid is not None:
        process.kill()  # at once: what it was doing is taken up again by whoever goes on
        process.join()


def _watch(study: SweepStudy, num_seeds: int, workers: dict[Connection, SpawnProcess]) -> None:
    """Show how far the sweep is until every worker is done; raise what one of them has to say."""
    progress: tqdm[Never] | None = None  # waits until the first worker is prepared, which draws bars of its own
    with contextlib.ExitStack() as stack:
        while workers:
            ready = wait(list(workers), timeout=_POLL_S)
            for receiver in [one for one in workers if one in ready]:
                try:
                    message = receiver.recv()
                except EOFError:
                    _check_exit(workers.pop(receiver))
                    continue
                if message is not None:
                    raise message
                if progress is None:
                    progress = stack.enter_context(_make_bar(study, study.num_planned * num_seeds))
            if progress is not None:
                progress.update(study.num_trainings - progress.n)


def _make_bar(study: SweepStudy, total: int) -> tqdm[Never]:
    return tqdm(total=total, initial=study.num_trainings, desc="sweep", unit="training", disable=None)


def _check_exit(process: SpawnProcess) -> None:
    process.join()
    if process.exitcode:
        ending = f"signal {-process.exitcode}" if process.exitcode < 0 else f"exit status {process.exitcode}"
        raise SweepError(f"a worker process ended with {ending}, out of memory perhaps; the same command goes on")


def _work(connection: Connection, folder: Path, plan: Plan, prepare: Prepare, *, loud: bool) -> None:
    """A worker's whole life: prepare, say so, and train until nothing is left to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it too; its starter ends it
    threading.Thread(target=_end_with_starter, daemon=True).start()
    try:
        study = SweepStudy(folder, plan)
        with FileLock(study.lock("prepare")), contextlib.nullcontext() if loud else _without_bars():
            evaluate = prepare()
        connection.send(None)
        with _without_bars():
            _try_all(study, plan, evaluate)
    except Exception as error:  # noqa: BLE001 - whatever it is, its starter has to hear of it
        connection.send(_as_message(error))


def _try_all(study: SweepStudy, plan: Plan, evaluate: Callable[[TrainingConfig], float]) -> None:
    presence = study.join()
    try:
        while study.num_finished < study.num_planned:
            if trial := study.claim(presence):
                _try(study, trial, plan, evaluate)
            else:
                time.sleep(_POLL_S)  # others are at the last ones; should one of them die, its trial is still to do
    finally:
        presence.end()


def _try(study: SweepStudy, trial: Trial, plan: Plan, evaluate: Callable[[TrainingConfig], float]) -> None:
    try:
        for seed in plan.space.seeds:
            if seed not in study.aurocs(trial):
                settings = {**plan.settings, **trial.params, "seed": seed}
                study.keep(trial, seed, evaluate(TrainingConfig.preset(**settings)))
    except TrainingError as error:
        study.fail(trial, f"seed {seed}: {error}")
    else:
        study.complete(trial)


def _end_with_starter() -> None:
    """A starter that is killed cannot end its workers."""
    if (starter := multiprocessing.parent_process()) is not None:
        starter.join()
        os._exit(1)


def _as_message(error: Exception) -> Exception:
    """What a person can mend in one line, without the class, whose pickle may not fit; a defect whole."""
    if isinstance(error, OSError | MemeguardError):
        return SweepError(str(error))
    return RuntimeError("".join(traceback.format_exception(error)))


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Each training draws a bar on a terminal, and several at once would draw over each other; the rest is shown."""
    raw = os.fdopen(os.dup(sys.stderr.fileno()), "wb", buffering=0)
    with _NoTerminal(raw, encoding="utf-8", write_through=True) as plain, contextlib.redirect_stderr(plain):
        yield


class _NoTerminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return False

"""Run a sweep in worker processes that train one trial after the other, and show its progress."""

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
from typing import TYPE_CHECKING, Final, Never

from tqdm import tqdm

from memeguard.errors import MemeguardError
from training.config import TrainingConfig, TrainingError
from training.sweep.plan import Plan, SweepError
from training.sweep.study import SweepStudy

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

    from optuna.trial import Trial

    Objective = Callable[[TrainingConfig], float]  # trains, and returns the best validation AUROC

_POLL_S: Final = 0.3


def run_sweep(folder: Path, plan: Plan, prepare: Callable[[], Objective], *, num_jobs: int = 1) -> SweepStudy:
    """Work on the sweep in ``folder`` until all its trials are finished, here or in other processes.

    No worker process outlives this call, whether it returns, raises or is killed.

    Args:
        folder: A new folder, or one that holds a sweep with the same plan.
        plan: What to try.
        prepare: Makes the objective in a worker, which receives it as a pickle. One worker at a time prepares.
        num_jobs: Number of worker processes.

    Raises:
        SweepError: The folder holds something else, or a worker failed.
    """
    study = SweepStudy(folder, plan)
    context = multiprocessing.get_context("spawn")
    workers: dict[Connection, SpawnProcess] = {}
    with contextlib.ExitStack() as stack:
        for number in range(min(num_jobs, plan.num_configurations - study.num_finished)):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(sender, folder, plan, prepare), kwargs={"loud": number == 0})
            stack.callback(_kill, process)  # before the start: Ctrl-C may come at any moment
            process.start()
            sender.close()
            workers[receiver] = process
        _watch(study, plan, workers)
    return study


def _kill(process: SpawnProcess) -> None:
    if process.pid is not None:
        process.kill()  # its trial is trained by whoever continues the sweep
        process.join()


def _watch(study: SweepStudy, plan: Plan, workers: dict[Connection, SpawnProcess]) -> None:
    """Show the progress until every worker has ended; raise the first error that one sends."""
    progress: tqdm[Never] | None = None  # the first worker shows its own until it is prepared
    with contextlib.ExitStack() as stack:
        while workers:
            ready = wait(list(workers), timeout=_POLL_S)
            for receiver in [one for one in workers if one in ready]:
                try:
                    error = receiver.recv()
                except EOFError:
                    _check_exit(workers.pop(receiver))
                    continue
                if error is not None:
                    raise error
                if progress is None:
                    progress = stack.enter_context(_make_bar(study, plan))
            if progress is not None:
                progress.update(study.num_trainings - progress.n)


def _make_bar(study: SweepStudy, plan: Plan) -> tqdm[Never]:
    total = plan.num_configurations * len(plan.space.seeds)
    return tqdm(total=total, initial=study.num_trainings, desc="sweep", unit="training", disable=None)


def _check_exit(process: SpawnProcess) -> None:
    process.join()
    if process.exitcode:
        ending = f"signal {-process.exitcode}" if process.exitcode < 0 else f"exit status {process.exitcode}"
        raise SweepError(
            f"a worker process ended with {ending}, perhaps for lack of memory; "
            "resume the sweep by running the same command again"
        )


def _work(connection: Connection, folder: Path, plan: Plan, prepare: Callable[[], Objective], *, loud: bool) -> None:
    """Prepare, send None, and train until nothing is left to do; send the error if there is one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; run_sweep ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        study = SweepStudy(folder, plan)
        if not loud:
            _hide_bars()
        with study.lock("prepare"):
            objective = prepare()
        connection.send(None)
        _hide_bars()
        while study.num_finished < plan.num_configurations:
            with study.claim() as trial:
                if trial is not None:
                    _train_trial(study, trial, plan, objective)
            if trial is None:
                time.sleep(_POLL_S)  # other processes train the last trials, and may be killed
    except Exception as error:  # noqa: BLE001 - run_sweep raises it
        connection.send(_make_picklable(error))


def _train_trial(study: SweepStudy, trial: Trial, plan: Plan, objective: Objective) -> None:
    known = study.aurocs(trial)
    try:
        for seed in plan.space.seeds:
            if seed not in known:
                settings = {**plan.settings, **trial.params, "seed": seed}
                trial.report(objective(TrainingConfig.preset(**settings)), step=seed)
    except TrainingError as error:
        study.fail(trial, f"seed {seed}: {error}")
    else:
        study.complete(trial)


def _end_with_parent() -> None:
    """End this process when run_sweep's is killed and cannot do it."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _make_picklable(error: Exception) -> Exception:
    """Keep the message of an error that the user can mend, and the traceback of any other."""
    if isinstance(error, OSError | MemeguardError):
        return SweepError(str(error))
    return RuntimeError("".join(traceback.format_exception(error)))


def _hide_bars() -> None:
    """Keep the bars of trainings, which would overwrite each other, off the terminal, and show everything else."""
    sys.stderr = _NoTerminal(os.fdopen(os.dup(2), "wb", buffering=0), encoding="utf-8", write_through=True)


class _NoTerminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return False

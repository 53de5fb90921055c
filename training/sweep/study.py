"""Keep a sweep's trials on disk, for any number of processes that may be killed at any time.

Optuna stores the trials, queues and samples them. Its heartbeat, which would find the trials of killed processes, is
not used: it needs a database, and on SQLite, the only one without a server, Optuna advises against several processes.
Instead each running trial holds a file lock, which the kernel releases when the process dies.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import statistics
from typing import TYPE_CHECKING, Final

import optuna
from filelock import BaseFileLock, FileLock, Timeout
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from training.sweep.journal import open_journal
from training.sweep.leaderboard import Entry, Failure, rank
from training.sweep.plan import Plan, SweepError, check_identity
from training.sweep.search_space import Axis, Configuration, Range

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from optuna.distributions import BaseDistribution

JOURNAL: Final = "journal.log"
_LOCKS: Final = "locks"
_NAME: Final = "sweep"
_IDENTITY, _REASON = "identity", "reason"  # user attributes of the study and of a failed trial


class SweepStudy:
    """The trials of a plan in a folder. A trial is one configuration; its intermediate values are AUROCs by seed."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        """Open the sweep in ``folder``, or create it.

        Raises:
            SweepError: The folder holds another sweep, or something else.
        """
        is_used = folder.exists() and any(path.name != _LOCKS for path in folder.iterdir())
        if is_used and not (folder / JOURNAL).exists():
            raise SweepError(f"{folder} exists and holds no sweep; choose a new or an empty folder")
        self._plan, self._locks = plan, folder / _LOCKS
        self._distributions = {name: _distribution(axis) for name, axis in plan.space.axes.items()}
        self._locks.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._lock = self.lock("journal")
        with self._lock:
            self._storage = open_journal(folder / JOURNAL, self._lock)
            self._study = optuna.create_study(
                storage=self._storage, study_name=_NAME, direction="maximize", load_if_exists=True
            )
            if (found := self._study.user_attrs.get(_IDENTITY)) is None:
                self._study.set_user_attr(_IDENTITY, plan.identity())
            else:
                check_identity(folder, found, plan)
            if plan.space.is_grid:  # a process that died here has queued the first ones
                for configuration in itertools.islice(plan.space.configurations(), len(self._trials()), None):
                    self._study.enqueue_trial(configuration)

    def lock(self, name: str) -> BaseFileLock:
        """Return the lock called ``name``, which one process at a time may hold."""
        return FileLock(self._locks / f"{name}.lock")

    @property
    def num_finished(self) -> int:
        """How many trials are complete or have failed."""
        return sum(trial.state.is_finished() for trial in self._trials())

    @property
    def num_trainings(self) -> int:
        """How many trainings are done, one per seed; a failed trial counts as if all its seeds were trained."""
        num_seeds = len(self._plan.space.seeds)
        return sum(num_seeds if one.state.is_finished() else len(one.intermediate_values) for one in self._trials())

    @contextlib.contextmanager
    def claim(self) -> Iterator[Trial | None]:
        """Hold a trial that no live process works on until the block ends; None if there is none.

        A trial that a killed process left comes before a new one, and keeps the AUROCs it has.
        """
        with contextlib.ExitStack() as stack:
            with self._lock:  # until the trial's own lock is held, nobody may take it for abandoned
                self._requeue_abandoned()
                trial = self._next_trial()
                if trial is not None:
                    stack.enter_context(self._trial_lock(trial.number))
            yield trial

    def aurocs(self, trial: Trial) -> dict[int, float]:
        """Return the known AUROCs by seed, from every trial with this configuration: sampling may repeat one."""
        same = (other for other in self._trials() if other.params == trial.params)
        return {seed: auroc for other in same for seed, auroc in other.intermediate_values.items()}

    def complete(self, trial: Trial) -> None:
        """Finish a trial that has the AUROC of every seed."""
        self._study.tell(trial, statistics.fmean(self.aurocs(trial).values()))

    def fail(self, trial: Trial, reason: str) -> None:
        """Finish a trial whose configuration cannot be trained."""
        trial.set_user_attr(_REASON, reason)
        self._study.tell(trial, state=TrialState.FAIL)

    def results(self) -> tuple[list[Entry], list[Failure]]:
        """Return the complete configurations, the best first, and the failed ones; each of them once."""
        groups: dict[str, list[FrozenTrial]] = {}
        for trial in self._trials():
            groups.setdefault(json.dumps(trial.params, sort_keys=True), []).append(trial)
        entries, failures = [], []
        for group in groups.values():
            states = {trial.state for trial in group}
            configuration = {name: group[0].params.get(name) for name in self._plan.space.axes}
            if TrialState.COMPLETE in states:
                aurocs = {seed: auroc for trial in group for seed, auroc in trial.intermediate_values.items()}
                entries.append(Entry(configuration=configuration, aurocs=dict(sorted(aurocs.items()))))
            elif TrialState.FAIL in states:
                reason = next(trial.user_attrs[_REASON] for trial in group if trial.state is TrialState.FAIL)
                failures.append(Failure(configuration=configuration, reason=reason))
        return rank(entries), failures

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _trial_lock(self, number: int) -> BaseFileLock:
        return self.lock(f"trial-{number}")

    def _requeue_abandoned(self) -> None:
        """Queue the trials of killed processes again. Optuna's retry is two writes, and a kill between loses one."""
        study_id = self._storage.get_study_id_from_name(_NAME)
        for trial in self._trials():
            if trial.state is TrialState.RUNNING and not _is_held(self._trial_lock(trial.number)):
                trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
                self._storage.set_trial_state_values(trial_id, TrialState.WAITING)

    def _next_trial(self) -> Trial | None:
        trials = self._trials()
        if not any(trial.state is TrialState.WAITING for trial in trials):
            if len(trials) >= self._plan.num_configurations:
                return None
            self._study.enqueue_trial(self._sample(trials))
        return self._study.ask(self._distributions)

    def _sample(self, trials: list[FrozenTrial]) -> Configuration:
        """Sample a configuration for a new trial, as after any interruption: from its number and what is complete."""
        study = optuna.create_study(direction="maximize", sampler=TPESampler(seed=len(trials)))
        study.add_trials([trial for trial in trials if trial.state is TrialState.COMPLETE])
        return study.ask(self._distributions).params


def _is_held(lock: BaseFileLock) -> bool:
    try:
        with lock.acquire(blocking=False):
            return False
    except Timeout:
        return True


def _distribution(axis: Axis) -> BaseDistribution:
    if not isinstance(axis, Range):
        return CategoricalDistribution(axis)
    if isinstance(axis.low, int) and isinstance(axis.high, int):
        return IntDistribution(axis.low, axis.high, log=axis.log, step=int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)

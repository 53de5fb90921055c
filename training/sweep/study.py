"""Keep a sweep on disk: which configurations there are, who works on which, and what came of them.

Optuna's study in a journal in the sweep's folder; any number of processes may work on it at once, and any of them may
die at any moment. Does not know how a configuration is trained.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import optuna
from filelock import FileLock
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from memeguard.errors import MemeguardError
from training.sweep.leaderboard import Entry, Failure, rank
from training.sweep.locks import JournalLock, Presence, is_present
from training.sweep.search_space import Axis, Configuration, Range, SearchSpace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from optuna.distributions import BaseDistribution

JOURNAL: Final = "journal.log"
_NAME: Final = "sweep"
_LOCKS, _WORKERS = "locks", "workers"
# Attributes of the study and of its trials.
_IDENTITY, _ENQUEUED = "identity", "enqueued"
_WORKER, _AUROCS, _REASON = "worker", "aurocs", "reason"


class SweepError(MemeguardError):
    """A sweep that cannot start or go on, and why."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep is. Another number of trials, of a sweep that samples, is still the same sweep.

    Attributes:
        space: What is varied.
        settings: What is the same for every configuration.
        backbone: What is trained on top of; of the hub, at one commit.
        backbone_sha256: Of its weights; None for one made from scratch.
        data_sha256: On which data.
        version: Of memeguard.
        num_trials: How many configurations to sample; None for a grid, of which all are tried.
        skipped: The memes of the data that are left out, a line each.
    """

    space: SearchSpace
    settings: Mapping[str, Any]
    backbone: str
    backbone_sha256: str | None
    data_sha256: str
    version: str
    num_trials: int | None = None
    skipped: tuple[str, ...] = ()

    def identity(self) -> dict[str, Any]:
        """What must be equal for two processes to work on one study, by the name an error gives it."""
        identity = {
            "search space": self.space.to_json(),
            "settings": dict(self.settings),
            "backbone": self.backbone,
            "backbone weights": self.backbone_sha256,
            "data": self.data_sha256,
            "memeguard version": self.version,
            **({"left out": self.skipped} if self.skipped else {}),
        }
        loaded: dict[str, Any] = json.loads(json.dumps(identity))
        return loaded


class SweepStudy:
    """A plan's trials in a folder: made where there are none, joined where there are."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        """Open the study in ``folder``.

        Raises:
            SweepError: The folder holds another sweep, or something else.
        """
        _check_plan(plan)
        if folder.exists() and not (folder / JOURNAL).exists() and any(folder.iterdir()):
            raise SweepError(f"{folder} exists and holds no sweep; a sweep needs a folder of its own")
        self._plan, self._locks, self._workers = plan, folder / _LOCKS, folder / _WORKERS
        for path in (self._locks, self._workers):
            path.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with FileLock(self.lock("study")):
            backend = JournalFileBackend(
                str(folder / JOURNAL), lock_obj=JournalLock(folder / JOURNAL, self.lock("journal"))
            )
            self._storage = JournalStorage(backend)
            self._study = optuna.create_study(
                storage=self._storage, study_name=_NAME, direction="maximize", load_if_exists=True
            )
            self._id = self._storage.get_study_id_from_name(_NAME)
            self._check_identity(folder)
            if plan.space.is_grid:
                self._enqueue_grid()

    def lock(self, name: str) -> Path:
        """The file to hold while doing what is called ``name``."""
        return self._locks / name

    @property
    def num_planned(self) -> int:
        """How many trials there will be in the end."""
        return len(self._trials()) if self._plan.num_trials is None else self._plan.num_trials

    @property
    def num_finished(self) -> int:
        """How many trials are complete or have failed."""
        return sum(trial.state.is_finished() for trial in self._trials())

    @property
    def num_trainings(self) -> int:
        """How many trainings, one for each seed, are done; those that a failed trial was spared count as done."""
        num_seeds = len(self._plan.space.seeds)
        return sum(num_seeds if trial.state.is_finished() else len(self.aurocs(trial)) for trial in self._trials())

    def join(self) -> Presence:
        """Tell the other processes that this one lives."""
        with FileLock(self.lock("study")):
            return Presence(self._workers)

    def claim(self, presence: Presence) -> Trial | None:
        """Take a trial that nobody works on, one begun by a process that died before any other; None if there is none.

        A trial that was begun keeps the AUROCs it has.
        """
        with FileLock(self.lock("study")):
            self._put_back_orphans()
            trials = self._trials()
            waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
            if not waiting and len(trials) >= self.num_planned:
                return None
            # A generator of its own for each trial: two processes never draw the same, and a sweep that was killed
            # goes on as it would have.
            self._study.sampler = TPESampler(seed=waiting[0].number if waiting else len(trials))
            trial = self._study.ask({name: _distribution(axis) for name, axis in self._plan.space.axes.items()})
            trial.set_user_attr(_WORKER, presence.name)
            twin = next((one for one in trials if one.params == trial.params and _AUROCS in one.user_attrs), None)
            if twin is not None:  # sampling may draw a configuration twice; training it twice gives the same
                trial.set_user_attr(_AUROCS, twin.user_attrs[_AUROCS])
        return trial

    @staticmethod
    def aurocs(trial: Trial | FrozenTrial) -> dict[int, float]:
        """By seed, as far as there are any."""
        return {int(seed): auroc for seed, auroc in trial.user_attrs.get(_AUROCS, {}).items()}

    def keep(self, trial: Trial, seed: int, auroc: float) -> None:
        """Note what came of one seed."""
        aurocs = {**self.aurocs(trial), seed: auroc}
        trial.set_user_attr(_AUROCS, {str(seed): auroc for seed, auroc in aurocs.items()})

    def complete(self, trial: Trial) -> None:
        """Every seed has its AUROC."""
        self._study.tell(trial, statistics.fmean(self.aurocs(trial).values()))

    def fail(self, trial: Trial, reason: str) -> None:
        """The configuration cannot be trained."""
        trial.set_user_attr(_REASON, reason)
        self._study.tell(trial, state=TrialState.FAIL)

    def results(self) -> tuple[list[Entry], list[Failure]]:
        """Configurations that are complete, the best first, and those that failed; each of them once."""
        trials = list({_key(trial.params): trial for trial in self._trials()}.values())
        entries = [
            Entry(configuration=self._configuration(trial), aurocs=dict(sorted(self.aurocs(trial).items())))
            for trial in trials
            if trial.state is TrialState.COMPLETE
        ]
        failures = [
            Failure(configuration=self._configuration(trial), reason=trial.user_attrs.get(_REASON, "unknown"))
            for trial in trials
            if trial.state is TrialState.FAIL
        ]
        return rank(entries), failures

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _configuration(self, trial: FrozenTrial) -> Configuration:
        return {name: trial.params[name] for name in self._plan.space.axes}

    def _check_identity(self, folder: Path) -> None:
        expected, found = self._plan.identity(), self._study.user_attrs.get(_IDENTITY)
        if found is None:
            self._study.set_user_attr(_IDENTITY, expected)
            return
        for name, value in expected.items():
            if found.get(name) != value:
                was, now = _difference(found.get(name), value)
                raise SweepError(
                    f"{folder} holds a sweep that differs in its {name}: there {was}, here {now}; choose another folder"
                )

    def _enqueue_grid(self) -> None:
        """Whoever died amid this left some out: they are added."""
        if self._study.user_attrs.get(_ENQUEUED):
            return
        known = {_key(trial.system_attrs["fixed_params"]) for trial in self._trials()}
        for configuration in self._plan.space.configurations():
            if _key(configuration) not in known:
                self._study.enqueue_trial(configuration)
        self._study.set_user_attr(_ENQUEUED, value=True)

    def _put_back_orphans(self) -> None:
        for trial in self._trials():
            if trial.state is TrialState.RUNNING and not is_present(self._workers, trial.user_attrs.get(_WORKER, "")):
                trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._id, trial.number)
                self._storage.set_trial_state_values(trial_id, TrialState.WAITING)


def _check_plan(plan: Plan) -> None:
    if plan.space.is_grid and plan.num_trials is not None:
        raise SweepError(
            f"a grid of {plan.space.num_configurations} configurations is tried in full; --trials is for ranges"
        )
    if not plan.space.is_grid and (plan.num_trials is None or plan.num_trials < 1):
        raise SweepError("a search space with a range is sampled; say with --trials how many configurations to try")


def _distribution(axis: Axis) -> BaseDistribution:
    if not isinstance(axis, Range):
        return CategoricalDistribution(axis)
    if isinstance(axis.low, int) and isinstance(axis.high, int):
        return IntDistribution(axis.low, axis.high, log=axis.log, step=int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)


def _difference(was: Any, now: Any) -> tuple[Any, Any]:  # noqa: ANN401 - whatever JSON holds
    """The first member that differs, if both have members."""
    if isinstance(was, dict) and isinstance(now, dict):
        name = next(name for name in {**was, **now} if was.get(name) != now.get(name))
        was, now = (f"{name} {json.dumps(one[name])}" if name in one else f"no {name}" for one in (was, now))
    return was, now


def _key(configuration: Mapping[str, Any]) -> str:
    return json.dumps(configuration, sort_keys=True)

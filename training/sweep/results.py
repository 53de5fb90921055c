"""What a sweep trains: each configuration on one reading of the data, and in the end the winner's bundle.

Does not know how configurations are chosen or shared out, nor what the command line looks like.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from filelock import FileLock

from evaluation.baselines import score_with_tfidf
from evaluation.metrics import measure_scores
from memeguard.bundle import save_bundle
from memeguard.bundle_files import CONFIG
from memes.atomic_file import write_whole, write_whole_json
from training.config import TrainingConfig
from training.experiment import Experiment
from training.sweep.leaderboard import Entry, Leaderboard
from training.sweep.plot import draw_leaderboard
from training.sweep.study import Plan, SweepError, SweepStudy
from training.trainer import train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from memes.meme import Meme
    from training.config import Tune

WINNER: Final = "winner"
REBUILT: Final = "rebuilt"  # where the command puts the same bundle
_JSON, _PLOT, _COMMAND = "leaderboard.json", "leaderboard.png", "command.txt"


@dataclass(frozen=True, kw_only=True)
class PrepareTraining:
    """Loads backbone and data in a worker process; goes there as a pickle.

    Attributes:
        splits: ``train`` and ``validation``.
        backbone: See ``load_backbone``.
        tunes: Every way of tuning that the sweep tries.
        device: Where to train; no part of the plan, so that several GPUs may work on one sweep.
        cache_dir: Where a frozen backbone's features are kept.
    """

    splits: Mapping[str, Sequence[Meme]]
    backbone: str
    tunes: tuple[Tune | None, ...]
    device: str
    cache_dir: Path

    def __call__(self) -> Callable[[TrainingConfig], float]:
        """Trains and gives the best validation AUROC; on one thread, so that figures do not depend on ``--jobs``."""
        experiments = {
            tune: Experiment(self.splits, self.backbone, tune=tune, device=self.device, cache_dir=self.cache_dir)
            for tune in self.tunes
        }
        torch.set_num_threads(1)

        def evaluate(config: TrainingConfig) -> float:
            return experiments[config.tune].fit(config).auroc

        return evaluate


class Results(NamedTuple):
    """What a sweep leaves, ready for people and for JSON."""

    board: Leaderboard
    command: str
    report: dict[str, Any]


def list_tunes(plan: Plan) -> tuple[Tune | None, ...]:
    """Every way of tuning that ``plan`` tries."""
    axis: Any = plan.space.axes.get("tune", (plan.settings.get("tune"),))
    return tuple(axis)


def write_results(
    folder: Path,
    study: SweepStudy,
    plan: Plan,
    training: PrepareTraining,
    describe: Callable[[TrainingConfig, Path], str],
) -> Results:
    """Write leaderboard, picture, the winner's bundle and the command that rebuilds it into ``folder``.

    The winner is trained with the seed whose AUROC is the median of its configuration: the luckiest seed's bundle would
    be chosen by noise, and its figure promise what the configuration does not keep. Where all of it is there already,
    nothing is trained.

    Args:
        folder: The sweep's.
        study: With all trials finished.
        plan: Of the study.
        training: What the trials were trained on.
        describe: Gives the shell command that trains with a configuration into a folder.

    Raises:
        SweepError: Every configuration failed.
    """
    with FileLock(study.lock("results")):
        entries, failures = study.results()
        if not entries:
            raise SweepError(f"all {len(failures)} configurations failed; the first: {failures[0].reason}")
        train_split, validation = (training.splits[name] for name in ("train", "validation"))
        board = Leaderboard(
            entries=entries,
            failures=failures,
            settings=plan.settings,
            backbone=plan.backbone,
            data_sha256=plan.data_sha256,
            num_memes={name: len(memes) for name, memes in training.splits.items()},
            tfidf_auroc=measure_scores(score_with_tfidf(train_split, validation, validation)).auroc,
        )
        winner = entries[0]
        config = winning_config(winner, plan, training.device)
        command = describe(config, folder / REBUILT)
        write_whole(folder / _PLOT, draw_leaderboard(board))
        _train_winner(folder, command, config, plan, training)
        report = {
            **board.to_json(),
            "skipped": list(plan.skipped),
            "winner": {
                "configuration": dict(winner.configuration),
                "seed": winner.median_seed,
                "seed_chosen": "the median of its seeds: the best one would be luck",
                "auroc": winner.aurocs[winner.median_seed],
                "bundle": str(folder / WINNER),
                "command": command,
            },
        }
        write_whole_json(folder / _JSON, report)
    return Results(board, command, report)


def winning_config(winner: Entry, plan: Plan, device: str) -> TrainingConfig:
    """How the winner's bundle is trained."""
    settings = {**plan.settings, **winner.configuration, "seed": winner.median_seed, "device": device}
    return TrainingConfig.preset(**settings)


def _train_winner(folder: Path, command: str, config: TrainingConfig, plan: Plan, training: PrepareTraining) -> None:
    """Train it unless it is there; command.txt comes last and says of which configuration the bundle is."""
    bundle, note = folder / WINNER, folder / _COMMAND
    if note.exists() and note.read_text("utf-8") == f"{command}\n" and (bundle / CONFIG).exists():
        return
    note.unlink(missing_ok=True)
    shutil.rmtree(bundle, ignore_errors=True)  # of a sweep that has been given more trials since
    result = train(
        training.splits,
        plan.backbone,
        config,
        data_hash=plan.data_sha256,
        skipped=plan.skipped,
        cache_dir=training.cache_dir,
    )
    save_bundle(result.bundle, bundle, report=result.report)
    write_whole(note, f"{command}\n".encode())

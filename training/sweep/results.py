"""What a sweep trains and writes: its trials, the leaderboard and the winner's bundle."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from evaluation.baselines import score_with_tfidf
from evaluation.metrics import measure_scores
from memeguard.bundle import save_bundle
from memeguard.bundle_files import CONFIG
from memes.atomic_file import write_whole, write_whole_json
from training.config import TrainingConfig
from training.experiment import Experiment
from training.sweep.leaderboard import Entry, Leaderboard
from training.sweep.plan import Plan, SweepError
from training.sweep.plot import draw_leaderboard
from training.trainer import train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from memes.meme import Meme
    from training.config import Tune
    from training.sweep.study import SweepStudy

WINNER: Final = "winner"
REBUILT: Final = "rebuilt"  # the folder that the command in command.txt writes
_JSON, _PLOT, _COMMAND = "leaderboard.json", "leaderboard.png", "command.txt"


@dataclass(frozen=True, kw_only=True)
class PrepareTraining:
    """Loads backbone and data in a worker process, which receives this as a pickle.

    Attributes:
        splits: The memes of ``train`` and ``validation``.
        backbone: Name or folder, as ``load_backbone`` takes it.
        tunes: Every way of tuning that the sweep tries.
        device: Where to train. It is not part of the plan, so that several GPUs can work on one sweep.
        cache_dir: Where the features of a frozen backbone are cached.
    """

    splits: Mapping[str, Sequence[Meme]]
    backbone: str
    tunes: tuple[Tune | None, ...]
    device: str
    cache_dir: Path

    def __call__(self) -> Callable[[TrainingConfig], float]:
        """Return a function that trains on one thread, so that ``--jobs`` does not change the results."""
        experiments = {
            tune: Experiment(self.splits, self.backbone, tune=tune, device=self.device, cache_dir=self.cache_dir)
            for tune in self.tunes
        }
        torch.set_num_threads(1)

        def evaluate(config: TrainingConfig) -> float:
            return experiments[config.tune].fit(config).auroc

        return evaluate


class Results(NamedTuple):
    """The leaderboard, the command that rebuilds the winner, and the content of leaderboard.json."""

    board: Leaderboard
    command: str
    report: dict[str, Any]


def list_tunes(plan: Plan) -> tuple[Tune | None, ...]:
    """Return every way of tuning that ``plan`` tries."""
    axis: Any = plan.space.axes.get("tune", (plan.settings.get("tune"),))
    return tuple(axis)


def write_results(
    folder: Path,
    study: SweepStudy,
    plan: Plan,
    training: PrepareTraining,
    format_command: Callable[[TrainingConfig, Path], str],
) -> Results:
    """Write the leaderboard, its picture, the winner's bundle and the command that rebuilds it into ``folder``.

    The winner is trained with its median seed: the best seed would be chosen by luck, and its AUROC would be higher
    than what the configuration gives on average. A winner that is there already is not trained again.

    Args:
        folder: The folder of the sweep.
        study: The sweep, with all trials finished.
        plan: The plan of the study.
        training: What the trials were trained on.
        format_command: Returns the shell command that trains with a configuration into a folder.

    Raises:
        SweepError: Every configuration failed.
    """
    with study.lock("results"):
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
        command = format_command(config, folder / REBUILT)
        write_whole(folder / _PLOT, draw_leaderboard(board))
        _train_winner(folder, command, config, plan, training)
        report = {
            **board.to_json(),
            "skipped": list(plan.skipped),
            "winner": {
                "configuration": dict(winner.configuration),
                "seed": winner.median_seed,
                "seed_chosen": "the median of its seeds: the best seed would be luck",
                "auroc": winner.aurocs[winner.median_seed],
                "bundle": str(folder / WINNER),
                "command": command,
            },
        }
        write_whole_json(folder / _JSON, report)
    return Results(board, command, report)


def winning_config(winner: Entry, plan: Plan, device: str) -> TrainingConfig:
    """Return the configuration that the winner's bundle is trained with."""
    settings = {**plan.settings, **winner.configuration, "seed": winner.median_seed, "device": device}
    return TrainingConfig.preset(**settings)


def _train_winner(folder: Path, command: str, config: TrainingConfig, plan: Plan, training: PrepareTraining) -> None:
    """Train the winner unless its bundle is there; command.txt, written last, says that it is and what it is."""
    bundle, note = folder / WINNER, folder / _COMMAND
    if note.exists() and note.read_text("utf-8") == f"{command}\n" and (bundle / CONFIG).exists():
        return
    note.unlink(missing_ok=True)
    shutil.rmtree(bundle, ignore_errors=True)  # the winner before the sweep got more trials
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

"""``memeguard sweep``: read data and search space, run the sweep, print its results."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

import memeguard
from cli.skipped import tell_skipped
from memes.reading import Skipping, data_hash, read_splits
from training.backbones import find_source
from training.config import TrainingConfig
from training.sweep.leaderboard import format_leaderboard
from training.sweep.plan import Plan
from training.sweep.results import WINNER, PrepareTraining, list_tunes, write_results
from training.sweep.search_space import DEFAULT_SPACE, SearchSpaceError, check_space
from training.sweep.space_file import read_space
from training.sweep.workers import run_sweep

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from training.sweep.search_space import SearchSpace


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """The options of the command line.

    Attributes:
        data: Folder of the labelled memes.
        out: Folder of the sweep.
        space: TOML file with the search space; None for the default space.
        num_trials: How many configurations to sample; None for a grid.
        num_jobs: Number of worker processes.
        backbone: Name or folder, as ``load_backbone`` takes it.
        settings: Fields of ``TrainingConfig`` that are the same for every configuration.
        device: Where to train.
        cache_dir: Where the features of a frozen backbone are cached.
        options: The option of ``memeguard train`` for each setting.
        skip_damaged: How many faulty memes may be left out.
    """

    data: Path
    out: Path
    space: Path | None
    num_trials: int | None
    num_jobs: int
    backbone: str
    settings: Mapping[str, Any]
    device: str
    cache_dir: Path
    options: Mapping[str, str]
    skip_damaged: int = 0


def sweep(asked: SweepSettings, *, as_json: bool) -> None:
    """Run, resume or join the sweep in a folder, and print its results.

    Args:
        asked: The options of the command line.
        as_json: Print leaderboard.json instead of a table.

    Raises:
        SearchSpaceError: The search space is invalid.
        SweepError: The folder holds something else, a worker failed, or every configuration failed.
        DataError: The memes have row errors.
        BackboneError: The backbone cannot be loaded.
    """
    source = find_source(asked.backbone)
    skipping = Skipping(max_memes=asked.skip_damaged)
    splits = read_splits(asked.data, others=False, skipping=skipping)  # not the test split, which must stay unseen
    tell_skipped(skipping.skipped)
    plan = Plan(
        space=_choose_space(asked),
        settings=asked.settings,
        backbone=source.name,  # with the hub's present commit, which every worker must load
        backbone_sha256=source.weights_sha256,
        data_sha256=data_hash(asked.data),
        version=memeguard.__version__,
        num_trials=asked.num_trials,
        skipped=skipping.skipped,
    )
    training = PrepareTraining(
        splits=splits,
        backbone=plan.backbone,
        tunes=list_tunes(plan),
        device=asked.device,
        cache_dir=asked.cache_dir,
    )
    try:
        study = run_sweep(asked.out, plan, training, num_jobs=asked.num_jobs)
        results = write_results(
            asked.out, study, plan, training, lambda config, out: format_command(asked, plan.backbone, config, out)
        )
    except (KeyboardInterrupt, SystemExit):
        click.echo("\ninterrupted; resume the sweep by running the same command again", err=True)
        raise
    if as_json:
        click.echo(json.dumps(results.report, indent=2, ensure_ascii=False))
        return
    click.echo(format_leaderboard(results.board))
    click.echo(f"wrote {asked.out / WINNER}, the first configuration with its median seed; to rebuild the same bytes:")
    click.echo(results.command)


def format_command(asked: SweepSettings, backbone: str, config: TrainingConfig, bundle: Path) -> str:
    """Format the shell command that trains on ``backbone`` with ``config`` into ``bundle``, without default options."""
    words = ["memeguard", "train", "--data", str(asked.data), "--backbone", backbone]
    defaults = TrainingConfig.preset(config.tune)
    for name, option in asked.options.items():
        value = getattr(config, name, None)
        if value is not None and (name == "tune" or value != getattr(defaults, name)):
            words += [option, str(value)]
    if asked.skip_damaged:
        words += ["--skip-damaged", str(asked.skip_damaged)]
    return shlex.join([*words, "--out", str(bundle)])


def _choose_space(asked: SweepSettings) -> SearchSpace:
    if asked.space is None:
        check_space(DEFAULT_SPACE, asked.settings)
        return DEFAULT_SPACE
    space = read_space(asked.space, asked.settings)
    if nameless := [name for name in space.axes if name not in asked.options]:
        raise SearchSpaceError(f"{asked.space}: {nameless[0]} cannot be swept; memeguard train has no option for it")
    return space

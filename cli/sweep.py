"""``memeguard sweep``: gather what is asked for, run the sweep, tell what came of it.

Does not know how configurations are shared out, trained or ranked.
"""

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
from training.sweep.results import WINNER, PrepareTraining, list_tunes, write_results
from training.sweep.search_space import DEFAULT_SPACE, SearchSpaceError, check_space, read_space
from training.sweep.study import Plan
from training.sweep.workers import run_sweep

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from training.sweep.search_space import SearchSpace


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """What the command line says.

    Attributes:
        data: Labelled memes.
        out: The sweep's folder.
        space: A TOML file; the default space without one.
        num_trials: How many configurations to sample.
        num_jobs: How many worker processes.
        backbone: See ``load_backbone``.
        settings: Of ``TrainingConfig``, the same for every configuration.
        device: Where to train.
        cache_dir: Where a frozen backbone's features are kept.
        options: What ``memeguard train`` calls each setting.
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
    """Run the sweep, or join it, and tell its results.

    Raises:
        SearchSpaceError: The space cannot be swept.
        SweepError: The folder holds something else, a worker cannot go on, or every configuration failed.
        DataError: The memes are faulty.
        BackboneError: The backbone cannot be loaded.
    """
    source = find_source(asked.backbone)
    skipping = Skipping(max_memes=asked.skip_damaged)
    # Not the test split: what is chosen here must not have seen it.
    splits = read_splits(asked.data, others=False, skipping=skipping)
    tell_skipped(skipping.skipped)
    plan = Plan(
        space=_choose_space(asked),
        settings=asked.settings,
        backbone=source.name,  # the commit of now, for every worker and whoever joins later
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
        click.echo("\ninterrupted; the same command goes on", err=True)
        raise
    if as_json:
        click.echo(json.dumps(results.report, indent=2, ensure_ascii=False))
        return
    click.echo(format_leaderboard(results.board))
    click.echo(
        f"wrote {asked.out / WINNER}, with the seed that is the median of the first; this builds the same bytes:"
    )
    click.echo(results.command)


def format_command(asked: SweepSettings, backbone: str, config: TrainingConfig, bundle: Path) -> str:
    """Format the shell command that trains on ``backbone`` with ``config`` into the folder ``bundle``.

    What is default anyway is left out.
    """
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
        raise SearchSpaceError(f"{asked.space}: {nameless[0]} is not swept; memeguard train has no option for it")
    return space

"""The command line: ``memeguard <command>``.

Does not do the work; a command imports what it needs when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memeguard.errors import MemeguardError
from memes.user_cache import user_cache

if TYPE_CHECKING:
    from collections.abc import Callable

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_TUNES = click.Choice(["head", "lora", "last-blocks", "full"])


class _Commands(click.Group):
    """Shows an error a person can mend as one clear message, with exit status 1; any other is a defect, shown whole."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not isinstance(error, OSError | MemeguardError):
                raise
            shown = click.ClickException(str(error))
            shown.exit_code = error.exit_status if isinstance(error, MemeguardError) else 1
            raise shown from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="memeguard")
def main() -> None:
    """Fine-tune CLIP to tell offensive memes from harmless ones, and serve it."""
    # As an exception SIGTERM takes the way of Ctrl-C: what is half-made is removed. `serve` has handlers of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _training_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every command that trains; their defaults are ``TrainingConfig``'s."""
    options = [
        click.option("--backbone", default="tiny", show_default=True, metavar="NAME",
                     help="tiny, compact, a folder of safetensors, or a hub id such as openai/clip-vit-base-patch32; "
                          "NAME@REVISION is a branch, tag or commit of it."),
        click.option("--tune", type=_TUNES,
                     help="What learns besides the head.  [default: head; full for tiny]"),
        click.option("--optimizer", type=click.Choice(["adamw", "adam", "sgd"]), help="[default: adamw]"),
        click.option("--lr", "learning_rate", type=float, help="Peak learning rate of the head.  [default: 0.001]"),
        click.option("--backbone-lr", "backbone_learning_rate", type=float,
                     help="Of what learns of a pretrained backbone.  [default: 0.0002 for lora, else 0.00001]"),
        click.option("--layer-decay", type=float, help="How much slower each lower block learns.  [default: 0.75]"),
        click.option("--blocks", "num_blocks", type=int, help="How many last-blocks are.  [default: 2]"),
        click.option("--lora-rank", type=int, help="[default: 8]"),
        click.option("--lora-dropout", type=float, help="[default: 0.25]"),
        click.option("--weight-decay", type=float, help="[default: 0.01]"),
        click.option("--batch-size", type=int, help="Memes per step.  [default: 32]"),
        click.option("--accumulate", "accumulation_steps", type=int,
                     help="Parts of a batch, one at a time in memory.  [default: 1]"),
        click.option("--epochs", "num_epochs", type=int,
                     help="Passes over the data at most.  [default: 40; 10 for lora, last-blocks and full]"),
        click.option("--patience", type=int,
                     help="Epochs without improvement.  [default: 12; 4 for lora, last-blocks and full]"),
        click.option("--projection-dim", type=int, help="Of the head.  [default: 256]"),
        click.option("--hidden-dim", type=int, help="Of the head.  [default: 256]"),
        click.option("--averaging", type=float,
                     help="Keep the weights' moving average of this decay, such as 0.99.  [default: 0, off]"),
        click.option("--augment/--no-augment", default=None,
                     help="Crop, misread, leave out, for towers that learn.  [default: no-augment]"),
        click.option("--seed", type=int, help="Same seed, same machine: same bundle.  [default: 0]"),
        click.option("--device", help="auto, cpu, cuda, cuda:1, …  [default: auto]"),
        click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]),
                     help="[default: auto, bf16 for towers that learn on a GPU]"),
        click.option("--storage", type=click.Choice(["fp32", "fp16"]),
                     help="Of the bundle's weights; fp16 halves it.  [default: fp32]"),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


_data_option = click.option(
    "--data", type=_FOLDER, required=True, help="Labelled memes: MultiOFF, Hateful Memes, HarMeme, MAMI or CSV."
)
_skip_option = click.option(
    "--skip-damaged", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Leave out up to N memes whose row or picture is faulty, and list them.",
)  # fmt: skip
_cache_option = click.option(
    "--cache", "cache_dir", type=_FOLDER, default=user_cache, show_default="~/.cache/memeguard",
    help="Keeps a frozen backbone's features.",
)  # fmt: skip


@main.command()
@click.argument("directory", type=_FOLDER)
@click.option("--backbone", default="tiny", show_default=True, metavar="NAME", help="Whose tokenizer counts tokens.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def check_data(directory: Path, backbone: str, *, as_json: bool) -> None:
    """Check labelled memes in DIRECTORY: rows per split and label, long texts, duplicates, conflicting labels.

    Example: memeguard check-data data/demo --backbone openai/clip-vit-base-patch32
    """
    from memes.inspection import format_report, inspect_data
    from memes.reading import read_splits
    from training.backbones import load_tokenizer

    splits = read_splits(directory, verify_images=False)  # for their captions; inspect_data verifies
    tokenizer = load_tokenizer(backbone, (meme.text for memes in splits.values() for meme in memes))
    report = inspect_data(directory, lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids) + 2)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(report), indent=2))
    else:
        click.echo(f"{format_report(report)}\n\ntokens are those of backbone {backbone}")


@main.command()
@click.argument("directory", type=_FOLDER)
@click.option("--seed", default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--render", is_flag=True, help="Draw the caption into the picture too.")
def demo_data(directory: Path, seed: int, *, render: bool) -> None:
    """Draw labelled memes into the new folder DIRECTORY: only picture and caption together tell the label.

    Example: memeguard demo-data data/demo --seed 1
    """
    from demo.drawing import write_demo_data

    write_demo_data(directory, seed=seed, render=render)
    click.echo(f"wrote {directory}")


@main.command()
@_data_option
@click.option("--out", type=_FOLDER, required=True, help="The bundle's folder; must not exist yet.")
@_training_options
@click.option("--folds", "num_folds", type=int,
              help="Folds whose held-out predictions set threshold and temperature; 0: validation.  "
                   "[default: 5 for head]")  # fmt: skip
@_cache_option
@_skip_option
@click.option(
    "--resume", is_flag=True, help="Go on with what an interrupted run left beside --out, if it left anything."
)
@click.option("--checkpoint-every", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="SECONDS",
              help="The most work an interruption costs; the end of an epoch is kept anyway.")  # fmt: skip
def train(data: Path, out: Path, backbone: str, cache_dir: Path, *, skip_damaged: int, resume: bool,
          checkpoint_every: float, **options: Any) -> None:  # fmt: skip # noqa: ANN401
    """Fine-tune a CLIP on labelled memes and write a bundle.

    Example: memeguard train --data data/mine --backbone openai/clip-vit-base-patch32 --out bundles/mine

    On several GPUs: accelerate launch --multi_gpu -m cli.main train …
    """
    import torch

    from cli.skipped import tell_skipped
    from evaluation.metrics_table import format_metrics
    from memeguard.bundle import load_bundle, save_bundle
    from memeguard.bundle_files import read_report
    from memeguard.errors import BundleError
    from memes.reading import Skipping, data_hash, read_splits
    from training.backbones import find_source
    from training.checkpoint import Checkpoints
    from training.devices import is_main_process
    from training.trainer import require_same_training
    from training.trainer import train as fit

    folder = out.resolve()
    checkpoints = Checkpoints(folder=folder.parent / f"{folder.name}.checkpoints", every_s=checkpoint_every)
    config = _training_config(options)
    if resume and out.exists() and any(out.iterdir()):
        load_bundle(out)
        source = find_source(backbone, download=False)
        require_same_training(read_report(out), backbone, config, data_hash(data), source)
        checkpoints.remove()  # a kill may have come between the two
        click.echo(f"{out} is complete")
        return
    _require_new(out)
    if not resume and checkpoints.exist():
        hint = "add --resume to go on with it, or remove that folder"
        raise click.ClickException(f"{checkpoints.folder} holds an interrupted training: {hint}")
    skipping = Skipping(max_memes=skip_damaged)
    try:
        splits = read_splits(data, others=False, skipping=skipping)  # the test split is evaluate's alone
        if is_main_process():
            tell_skipped(skipping.skipped)
        result = fit(
            splits,
            backbone,
            config,
            data_hash=data_hash(data),
            skipped=skipping.skipped,
            cache_dir=cache_dir,
            checkpoints=checkpoints,
        )
        if is_main_process():
            dtype = torch.float16 if config.storage == "fp16" else torch.float32
            save_bundle(result.bundle, out, report=result.report, dtype=dtype)
            checkpoints.remove()
    except (KeyboardInterrupt, SystemExit, OSError, BundleError):
        if checkpoints.exist():
            click.echo("\nnothing is lost: the same command with --resume goes on", err=True)
        raise
    if is_main_process():
        for warning in result.report["warnings"]:
            click.echo(f"warning: {warning}")
        click.echo(format_metrics("validation", result.report["validation"]))
        click.echo(f"wrote {out}")


@main.command()
@click.option("--data", type=_FOLDER, required=True, help="Labelled memes, as train takes them.")
@click.option("--out", type=_FOLDER, required=True, help="The sweep's folder; one that was begun is gone on with.")
@click.option("--space", type=_FILE, help="A TOML file: settings with values or ranges, and seeds.  "
              "[default: 3 optimizers, 3 batch sizes, 3 learning rates, 3 seeds]")  # fmt: skip
@click.option("--trials", "num_trials", type=click.IntRange(1), help="How many to sample, if the space has a range.")
@click.option("--jobs", "num_jobs", type=click.IntRange(1), default=1, show_default=True,
              help="Processes, of one thread each.")  # fmt: skip
@click.option("--backbone", default="tiny", show_default=True, metavar="NAME", help="As train's.")
@click.option("--tune", type=_TUNES, help="As train's.")
@click.option("--epochs", "num_epochs", type=int, help="As train's.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@_cache_option
@_skip_option
@click.option("--json", "as_json", is_flag=True, help="Print the leaderboard as JSON.")
def sweep(*, tune: str | None, num_epochs: int | None, as_json: bool, **options: Any) -> None:  # noqa: ANN401
    """Train with every setting of a search space, several seeds each; rank them, and build the winner's bundle.

    Any number of these may work on one folder at once. Interrupted, the same command goes on.

    Example: memeguard sweep --data data/mine --backbone openai/clip-vit-base-patch32 --out sweeps/mine --jobs 2
    """
    from cli.sweep import SweepSettings
    from cli.sweep import sweep as run

    given = {"tune": tune, "num_epochs": num_epochs}
    asked = SweepSettings(
        settings={name: value for name, value in given.items() if value is not None},
        options={str(option.name): option.opts[0] for option in train.params},
        **options,
    )
    run(asked, as_json=as_json)


@main.command()
@_data_option
@_training_options
@_cache_option
@_skip_option
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def ablate(data: Path, backbone: str, *, cache_dir: Path, skip_damaged: int, as_json: bool,
           **options: Any) -> None:  # fmt: skip # noqa: ANN401
    """Train on picture and caption, on the picture alone, on the caption alone; score each on the validation split.

    Example: memeguard ablate --data data/demo --epochs 8
    """
    from cli.skipped import tell_skipped
    from evaluation.metrics_table import format_metrics
    from memes.reading import Skipping, read_splits
    from training.ablation import compare_modalities

    skipping = Skipping(max_memes=skip_damaged)
    splits = read_splits(data, others=False, skipping=skipping)  # the test split is evaluate's alone
    tell_skipped(skipping.skipped)
    results = compare_modalities(splits, backbone, _training_config(options), cache_dir=cache_dir)
    rows: dict[str, Any] = {name: dataclasses.asdict(metrics) for name, metrics in results.items()}
    click.echo(json.dumps(rows, indent=2) if as_json else format_metrics("validation", rows))


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@_data_option
@click.option("--split", type=click.Choice(["test", "validation", "train"]), required=True, help="Opening test counts.")
@click.option("--out", type=_FOLDER, help="For page and plots.  [default: reports/BUNDLE-SPLIT]")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write figures here too.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@_skip_option
def evaluate(bundle: Path, *, data: Path, split: Any, out: Path | None, json_path: Path | None,  # noqa: ANN401
             device: str, skip_damaged: int) -> None:  # fmt: skip
    """Measure BUNDLE, a folder or a .mar archive, on one split, beside what it has to beat; write a page of it.

    Example: memeguard evaluate bundles/mine --data data/mine --split validation
    """
    from cli.skipped import tell_skipped
    from evaluation.evaluate import bundle_name, tabulate
    from evaluation.evaluate import evaluate as measure
    from evaluation.metrics_table import format_metrics
    from evaluation.page import write_evaluation
    from memes.atomic_file import write_whole_json

    report = measure(bundle, data, split, device=device, max_skipped=skip_damaged)
    tell_skipped(report.skipped)
    page = write_evaluation(report, data, out or Path("reports") / f"{bundle_name(bundle)}-{split}")
    if json_path:
        write_whole_json(json_path, dataclasses.asdict(report))
    for warning in report.warnings:
        click.echo(f"warning: {warning}")
    click.echo(format_metrics(split, tabulate(report)))
    click.echo(f"wrote {page}")


@main.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--model", type=click.Path(path_type=Path), required=True, help="A bundle's folder or a .mar archive.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE",
              help="The verdicts, .csv or .parquet.")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(1, 4096), default=32, show_default=True, help="Memes at once.")
@click.option("--images", type=_FOLDER, help="What a list's picture names are relative to.  [default: its folder]")
@click.option("--image-column", metavar="NAME", help="Of a list: the picture's name.  [default: by its name]")
@click.option("--text-column", metavar="NAME", help="Of a list: the caption.  [default: by its name]")
@click.option("--resume/--no-resume", default=True, show_default=True,
              help="Go on with what an interrupted run left, or drop it.")  # fmt: skip
@click.option("--runtime", type=click.Choice(["auto", "openvino", "torch"]), default="auto", show_default=True,
              help="What computes; auto is OpenVINO where it can.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def score(*, as_json: bool, **options: Any) -> None:  # noqa: ANN401
    """Score every meme of SOURCE in bulk: a folder of pictures, or a list of memes (.csv, .jsonl).

    A folder's captions are the .txt files beside the pictures. Interrupted or killed, the same command goes on. The
    exit status is 3 when the verdicts are written but some memes could not be judged.

    Example: memeguard score memes/ --model bundles/mine --out verdicts.csv
    """
    from cli.score import score as run
    from scoring.job import ScoringSettings

    run(ScoringSettings(**options), as_json=as_json)


@main.command()
@click.argument("bundle", type=_FOLDER)
@click.option("--version", required=True, metavar="X.Y.Z", help="One that model_store does not hold yet.")
@click.option("--model-store", type=_FOLDER, default="model_store", show_default=True)
@click.option("--data", type=_FOLDER, help="Prove the archive on these memes' validation split, not on drawn ones; "
              "their train split makes 8 bits possible.")  # fmt: skip
@click.option(
    "--runtime",
    type=click.Choice(["openvino", "torch"]),
    default="openvino",
    show_default=True,
    help="What it is made for: the fastest on a CPU, or torch alone, two thirds of the size.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "int8", "float"]),
    default="auto",
    show_default=True,
    help="Of OpenVINO's networks: int8 is the fastest; auto takes it where --data shows that the verdicts stay.",
)
def archive(bundle: Path, version: str, model_store: Path, **options: Any) -> None:  # noqa: ANN401
    """Make the TorchServe archive of BUNDLE and its card; refused unless it answers as the bundle does.

    Example: memeguard archive bundles/mine --version 1.0.0 --data data/mine
    """
    from archiving.archive import build_archive

    card = build_archive(bundle, version, model_store, **options)
    if card.int8_refused:
        click.echo(f"not in int8: {card.int8_refused}", err=True)
    seen = (
        f"{name} in {proof.precision} within {proof.max_logit_difference:.1e}" for name, proof in card.runtimes.items()
    )
    click.echo(f"wrote {model_store / card.archive} (logits: {', '.join(seen)} of the bundle's)")


@main.command()
@click.option("--model-store", type=_FOLDER, default="model_store", show_default=True)
@click.option("--if-empty", is_flag=True, help="Do nothing when the model store holds an archive.")
def starter(model_store: Path, *, if_empty: bool) -> None:
    """Archive the starter, the model of real memes that comes with the repository, as version 0.2.1.

    Example: memeguard starter
    """
    from rollout.archives import holds_archive

    if if_empty and holds_archive(model_store):
        return
    from archiving.starter import build_starter

    click.echo(f"archiving the starter model for {model_store}", err=True)
    card = build_starter(model_store)
    click.echo(f"wrote {model_store / card.archive}")


@main.command()
@click.option("--data", type=_FOLDER, default="data/demo", show_default=True)
@click.option("--out", type=_FOLDER, default="bundles/demo", show_default=True, help="The bundle's folder.")
@click.option("--model-store", type=_FOLDER, default="model_store", show_default=True)
def demo(data: Path, out: Path, model_store: Path) -> None:
    """Draw memes, train the tiny model on them and archive it as version 0.1.0.

    Example: memeguard demo
    """
    from demo.build import build_demo

    click.echo(f"training the demo model for {model_store}, about a minute", err=True)
    card = build_demo(data, out, model_store)
    click.echo(f"wrote {model_store / card.archive}")


def _serving_options(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.option("--model-store", type=_FOLDER, default="model_store", show_default=True),
        click.option("--run-dir", type=_FOLDER, default="run", show_default=True, help="For tokens and logs."),
        click.option("--config", type=_FILE, default="config.properties", show_default=True),
        click.option("--default-version", metavar="X.Y.Z", help="Who answers /predictions/meme.  [default: newest]"),
        click.option("--allow-unverified", is_flag=True, help="Serve archives that have no card to verify them by."),
        click.option("--pass-env", multiple=True, metavar="NAME",
                     help="An environment variable that the servers get besides those they need; may be repeated."),
        *(click.option(f"--{name}-port", type=click.IntRange(1, 65535), default=port, show_default=True)
          for name, port in (("inference", 8080), ("management", 8081), ("metrics", 8082),
                             ("grpc-inference", 7070), ("grpc-management", 7071))),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the proxy listens; TorchServe stays local.")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="The proxy's port.")
@click.option("--patience", "patience_s", type=click.FloatRange(min=1), default=60.0, show_default=True,
              metavar="SECONDS", help="A server that does not answer for this long is started again.")  # fmt: skip
@click.option("--allow-origin", "allowed_origins", multiple=True, metavar="ORIGIN",
              help="Pages of this origin, such as https://example.org, may read answers; may be repeated.")  # fmt: skip
@_serving_options
def serve(host: str, port: int, **options: Any) -> None:  # noqa: ANN401
    """Serve the archives of the model store until Ctrl-C.

    Archives are verified by their cards. A server that dies or no longer answers is started again.

    Example: memeguard serve --port 5001
    """
    from cli.serve import serve as run

    run(_serve_settings(options, host=host, proxy=port), click.echo)


@main.command()
@_serving_options
@click.option("--fallback-store", type=_FOLDER, help="Served when the model store holds no archive.")
def torchserve(fallback_store: Path | None, **options: Any) -> None:  # noqa: ANN401
    """Become TorchServe alone, in the foreground, as a container does; the proxy runs elsewhere.

    Example: memeguard torchserve --model-store model_store
    """
    from cli.serve import exec_torchserve
    from rollout.archives import holds_archive

    if fallback_store and not holds_archive(options["model_store"]):
        click.echo(f"{options['model_store']} holds no archive; serving {fallback_store}", err=True)
        options["model_store"] = fallback_store
    exec_torchserve(_serve_settings(options, host="127.0.0.1", proxy=5000), lambda line: click.echo(line, err=True))


def _serve_settings(options: dict[str, Any], *, host: str, proxy: int) -> Any:  # noqa: ANN401
    from cli.ports import Ports
    from cli.serve_settings import ServeSettings

    names = ("inference", "management", "metrics", "grpc_inference", "grpc_management")
    ports = Ports(proxy=proxy, **{name: options.pop(f"{name}_port") for name in names})
    return ServeSettings(host=host, ports=ports, **options)


def _training_config(options: dict[str, Any]) -> Any:  # noqa: ANN401
    from training.config import TrainingConfig

    return TrainingConfig.preset(**{name: value for name, value in options.items() if value is not None})


def _require_new(folder: Path) -> None:
    """Refuse before hours of training, not after."""
    if folder.exists() and any(folder.iterdir()):
        raise click.ClickException(f"{folder} exists already; a bundle is never overwritten")


if __name__ == "__main__":
    sys.exit(main())

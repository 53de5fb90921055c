"""The commands that make archives: archive, starter and demo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.options import FOLDER, model_store_option

if TYPE_CHECKING:
    from pathlib import Path

    from evaluation.functional.summary import FunctionalSummary

_QUANTIZATION_OF = {"auto": "auto", "int8": "int8", "float": "none"}  # what --precision was called with


@click.command()
@click.argument("bundle", type=FOLDER)
@click.option("--version", required=True, metavar="X.Y.Z", help="Version of the archive; new in the model store.")
@model_store_option
@click.option("--data", type=FOLDER, help="Labelled memes: the validation split proves the archive, the train split "
              "calibrates int8. Without them synthetic memes prove it.")  # fmt: skip
@click.option("--runtime", type=click.Choice(["openvino", "torch"]), default="openvino", show_default=True,
              help="openvino is the fastest on a CPU; torch alone takes two thirds of the space.")  # fmt: skip
@click.option("--quantization", type=click.Choice(["auto", "int8", "none"]), default="auto", show_default=True,
              help="int8 is the fastest; auto uses it if --data shows that the verdicts stay.")  # fmt: skip
@click.option(
    "--operating-point",
    metavar="NAME",
    help="Serve the threshold of this operating point, such as precision=0.9, instead of the bundle's.",
)
@click.option("--precision", type=click.Choice(list(_QUANTIZATION_OF)), hidden=True)
def archive(bundle: Path, version: str, model_store: Path, *, data: Path | None, runtime: Any, quantization: Any,  # noqa: ANN401
            operating_point: str | None, precision: str | None) -> None:  # fmt: skip
    """Make a TorchServe archive of BUNDLE, and its card; refuse it unless it answers as the bundle does.

    Example: memeguard archive bundles/mine --version 1.0.0 --data data/mine
    """
    from archiving.archive import build_archive

    if precision:
        quantization = _QUANTIZATION_OF[precision]
        click.echo(f"warning: --precision is now called --quantization; use --quantization {quantization}", err=True)
    card = build_archive(
        bundle,
        version,
        model_store,
        data=data,
        runtime=runtime,
        quantization=quantization,
        operating_point=operating_point,
    )
    if card.int8_refused:
        click.echo(f"not in int8: {card.int8_refused}", err=True)
    proofs = ", ".join(
        f"{name} in {proof.precision} within {proof.max_logit_difference:.1e}" for name, proof in card.runtimes.items()
    )
    click.echo(f"wrote {model_store / card.archive} (logits: {proofs} of the bundle's)")
    if card.functional:
        click.echo(_describe_functional(card.functional))
    if operating_point:
        click.echo(f"serves the operating point {operating_point}: threshold {card.threshold:.3f}")


@click.command()
@model_store_option
@click.option("--if-empty", is_flag=True, help="Do nothing if the model store holds an archive.")
def starter(model_store: Path, *, if_empty: bool) -> None:
    """Archive the starter, the model of real memes that comes with the repository, as version 0.2.2.

    Example: memeguard starter
    """
    from rollout.archives import holds_archive

    if if_empty and holds_archive(model_store):
        return
    from archiving.starter import build_starter

    click.echo(f"archiving the starter model for {model_store}", err=True)
    card = build_starter(model_store)
    click.echo(f"wrote {model_store / card.archive}")


@click.command()
@click.option("--data", type=FOLDER, default="data/demo", show_default=True, help="Folder of the drawn memes.")
@click.option("--out", type=FOLDER, default="bundles/demo", show_default=True, help="Folder of the bundle.")
@model_store_option
def demo(data: Path, out: Path, model_store: Path) -> None:
    """Draw memes, train the tiny model on them and archive it as version 0.1.0.

    Example: memeguard demo
    """
    from demo.build import build_demo

    click.echo(f"training the demo model for {model_store}, about a minute", err=True)
    card = build_demo(data, out, model_store)
    click.echo(f"wrote {model_store / card.archive}")


def _describe_functional(summary: FunctionalSummary) -> str:
    """Say in one line what a card says of the built-in functional test."""
    worst, flagged = summary.worst_accuracy.value, summary.most_flagged_rate.value
    return (
        f"functional test: worst at {summary.worst!r} ({summary.worst_label}, {worst:.0%} right); of harmless mentions "
        f"of {summary.most_flagged_group}, {flagged:.0%} are flagged"
    )

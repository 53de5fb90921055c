"""Options that several commands share, and options made from the fields of a settings dataclass."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from memes.user_cache import user_cache
from training.config import TrainingConfig
from training.job import TrainingJob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _typeshed import DataclassInstance

FOLDER: Final = click.Path(path_type=Path, file_okay=False)
FILE: Final = click.Path(path_type=Path, dir_okay=False, exists=True)

DATA_HELP: Final = "Labelled memes: MultiOFF, Hateful Memes, HarMeme, MAMI or CSV."
data_option = click.option("--data", type=FOLDER, required=True, help=DATA_HELP)
backbone_option = click.option(
    "--backbone", default=TrainingJob.backbone, show_default=True, metavar="NAME",
    help="tiny, compact, a folder of safetensors, or a hub id such as openai/clip-vit-base-patch32; "
         "NAME@REVISION selects a branch, tag or commit.",
)  # fmt: skip
cache_option = click.option(
    "--cache", "cache_dir", type=FOLDER, default=user_cache, show_default="~/.cache/memeguard",
    help="Folder that keeps the features of a frozen backbone.",
)  # fmt: skip
skip_option = click.option(
    "--skip-damaged", "max_skipped", type=click.IntRange(min=0), default=TrainingJob.max_skipped, show_default=True,
    metavar="N", help="Leave out up to N memes whose row or picture is faulty, and list them.",
)  # fmt: skip
device_option = click.option(
    "--device", default=TrainingConfig.device, show_default=True, help="Where to compute: auto, cpu, cuda, cuda:1, …"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
model_store_option = click.option(
    "--model-store", type=FOLDER, default="model_store", show_default=True, help="Folder of the archives."
)


@dataclasses.dataclass(frozen=True)
class OptionText:
    """How an option reads: its name, what it does, and its default where the settings alone do not tell it."""

    name: str
    help: str
    default: str | None = None


def together(*options: Callable[..., Any]) -> Callable[..., Any]:
    """One decorator that adds all of ``options`` to a command, in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def settings_options(
    settings: type[DataclassInstance], texts: Mapping[str, OptionText]
) -> dict[str, Callable[..., Any]]:
    """Make an option for each field of the dataclass ``settings`` that has a text.

    Type and default are the field's. An option that is not given is None, so that presets may take effect.
    """
    types = typing.get_type_hints(settings)
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    return {name: _make_option(name, types[name], defaults[name], text) for name, text in texts.items()}


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``options`` that are on the command line; the others keep the settings' defaults."""
    return {name: value for name, value in options.items() if value is not None}


def format_default(value: object) -> str:
    """A default as help texts show it; small numbers without an exponent."""
    return f"{value:f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _make_option(name: str, kind: Any, default: object, text: OptionText) -> Callable[..., Any]:  # noqa: ANN401
    if type(None) in typing.get_args(kind):
        (kind,) = [one for one in typing.get_args(kind) if one is not type(None)]
    if kind is bool:
        word = text.name.removeprefix("--")
        shown = word if default else f"no-{word}"
        return click.option(f"{text.name}/--no-{word}", name, default=None, help=f"{text.help}  [default: {shown}]")
    choices = typing.get_args(kind)
    shown = text.default or format_default(default)
    return click.option(
        text.name, name, type=click.Choice(choices) if choices else kind, help=f"{text.help}  [default: {shown}]"
    )

"""The command line: defaults are those of the settings, outputs are tried before the work, old names still work."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from click.testing import CliRunner

from cli.main import main
from cli.ports import Ports
from cli.serve_settings import ServeSettings
from scoring.settings import ScoringSettings
from training.config import TrainingConfig, Tune, backbone_learning_rate
from training.job import TrainingJob

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ResourceWarning)  # model_archiver/version.py leaves its file open
    from archiving import archive

if TYPE_CHECKING:
    import click

SETTINGS = {field.name for field in dataclasses.fields(TrainingConfig)} - {"modalities"}
BY_TUNE = {"num_epochs", "patience", "backbone_learning_rate"}
NOWHERE = "/proc/memeguard"  # nobody can make a folder there, not even root


def options_of(command: str) -> dict[str, click.Option]:
    return {str(option.name): option for option in main.commands[command].params}


def is_shown(option: click.Parameter) -> bool:
    return option.param_type_name == "option" and not option.hidden


def defaults_shown(option: click.Option) -> dict[str | None, str]:
    """What the help says: in general (None), and for each way of tuning that it names."""
    (text,) = re.findall(r"\[default: (.*)\]$", option.help or "")
    shown: dict[str | None, str] = {}
    for part in text.split("; "):
        value, _, tunes = part.partition(" for ")
        shown |= dict.fromkeys(re.split(r", | and ", tunes) if tunes else [None], value)
    return shown


def test_help_imports_nothing_heavy() -> None:
    program = "import sys, cli.main; print({'torch', 'numpy', 'transformers', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    done = CliRunner().invoke(main, [command, "--help"])
    assert done.exit_code == 0
    assert f"Example: memeguard {command}" in " ".join(done.output.split())
    assert all(option.help for option in options_of(command).values() if is_shown(option))


def test_every_setting_of_training_is_an_option() -> None:
    assert options_of("train").keys() >= SETTINGS


@pytest.mark.parametrize("name", sorted(SETTINGS - BY_TUNE))
def test_the_help_shows_the_default_of_the_setting(name: str) -> None:
    default = getattr(TrainingConfig(), name)
    shown = defaults_shown(options_of("train")[name])
    if name == "tune":
        assert shown == {None: "head", "tiny": "full"}
    elif name == "num_folds":
        assert shown == {"head": "5"}
    elif isinstance(default, bool):
        assert shown == {None: name if default else f"no-{name}"}
    elif isinstance(default, float):
        assert {tune: float(value) for tune, value in shown.items()} == {None: default}
    else:
        assert shown == {None: str(default)}


@pytest.mark.parametrize("tune", get_args(Tune))
def test_the_help_shows_the_defaults_of_each_way_of_tuning(tune: Tune) -> None:
    config = TrainingConfig.preset(tune)
    for name in ("num_epochs", "patience"):
        shown = defaults_shown(options_of("train")[name])
        assert int(shown.get(tune, shown[None])) == getattr(config, name)
    shown = defaults_shown(options_of("train")["backbone_learning_rate"])
    if tune != "head":  # which leaves the backbone as it is
        assert float(shown[tune]) == backbone_learning_rate(config, tune)


def test_options_without_presets_have_the_defaults_of_their_settings() -> None:
    for name in ("backbone", "max_skipped", "checkpoint_every_s"):
        assert options_of("train")[name].default == getattr(TrainingJob, name)
    serve = options_of("serve")
    assert (serve["host"].default, serve["patience_s"].default) == (ServeSettings.host, ServeSettings.patience_s)
    assert serve["port"].default == Ports.proxy
    for name in ("inference", "management", "metrics", "grpc_inference", "grpc_management"):
        assert serve[f"{name}_port"].default == getattr(Ports, name)


def test_scoring_has_the_defaults_of_its_settings() -> None:
    options = options_of("score")
    for field in dataclasses.fields(ScoringSettings):
        if field.default is not dataclasses.MISSING and field.default is not None:
            assert options[field.name].default == field.default, field.name


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--data", "missing", "--out", NOWHERE],
        ["train", "--data", "missing", "--out", NOWHERE, "--resume"],
        ["sweep", "--data", "missing", "--out", NOWHERE],
        ["demo-data", NOWHERE],
        ["evaluate", "missing", "--data", "missing", "--split", "test", "--out", NOWHERE],
        ["evaluate", "missing", "--data", "missing", "--split", "test", "--json", f"{NOWHERE}/figures.json"],
        ["score", "missing", "--model", "missing", "--out", f"{NOWHERE}/verdicts.csv"],
        ["archive", "missing", "--version", "1.0.0", "--model-store", NOWHERE],
        ["starter", "--model-store", NOWHERE],
        ["demo", "--data", NOWHERE],
        ["demo", "--out", NOWHERE],
        ["demo", "--model-store", NOWHERE],
    ],
    ids=" ".join,
)
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_read(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == f"Error: {NOWHERE} cannot be written: No such file or directory"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [["train", "--data", "missing", "--out", "."], ["demo-data", "."]], ids=lambda one: one[0]
)
def test_a_folder_that_is_not_empty_is_refused_before_anything_is_read(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("mine", "utf-8")
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stderr) == (
        1,
        "Error: . is not empty: it contains 'notes.txt'; choose a new or an empty folder\n",
    )


@pytest.mark.parametrize(("old", "quantization"), [("auto", "auto"), ("int8", "int8"), ("float", "none")])
def test_the_old_name_of_quantization_works_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, quantization: str
) -> None:
    asked: list[Any] = []

    def remember(*_: Any, **settings: Any) -> None:
        asked.append(settings["quantization"])
        raise archive.ArchiveError("enough")

    monkeypatch.setattr(archive, "build_archive", remember)
    arguments = ["archive", str(tmp_path), "--version", "1.0.0", "--precision", old]
    done = CliRunner().invoke(main, arguments)
    assert asked == [quantization]
    warning = f"warning: --precision is now called --quantization; use --quantization {quantization}"
    assert done.stderr.splitlines() == [warning, "Error: enough"]
    assert "--precision" not in CliRunner().invoke(main, ["archive", "--help"]).output

"""Sweeps that train models: the command line, a kill, and the bundle that the printed command rebuilds byte by byte."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from PIL import Image

from cli.sweep import SweepSettings, sweep
from memeguard.bundle import load_bundle
from memeguard.bundle_files import read_report
from memes.reading import read_split
from training.config import TrainingConfig
from training.sweep.results import PrepareTraining

ROOT = Path(__file__).parents[3]
SPACE = """
seeds = [0, 1, 2]
optimizer = ["adam", "sgd"]
learning_rate = [1e-2, 1e-3, 1e-4]
batch_size = [4]
projection_dim = [8]
hidden_dim = [8]
"""
NUM_EPOCHS = 4


def memeguard(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "cli.main", *map(str, arguments)]


def sweep_command(data: Path, backbone: Path, folder: Path) -> list[str]:
    space = folder / "space.toml"
    space.write_text(SPACE, encoding="utf-8")
    options = ("--space", space, "--epochs", NUM_EPOCHS, "--cache", folder / "cache", "--device", "cpu", "--json")
    return memeguard("sweep", "--data", data, "--backbone", backbone, "--out", folder / "out", *options)


def run(command: list[str]) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.fixture(scope="module")
def swept(
    demo_folder: Path, clip_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The folder of a sweep that nothing interrupted, and what it printed."""
    folder = tmp_path_factory.mktemp("sweep")
    return folder / "out", json.loads(run(sweep_command(demo_folder, clip_folder, folder)))


def test_a_sweep_leaves_a_leaderboard_its_picture_and_the_winners_bundle(swept: tuple[Path, dict[str, Any]]) -> None:
    folder, printed = swept
    assert json.loads((folder / "leaderboard.json").read_text("utf-8")) == printed
    with Image.open(folder / "leaderboard.png") as picture:
        picture.verify()
    assert [one["rank"] for one in printed["configurations"]] == [1, 2, 3, 4, 5, 6]
    winner, best = printed["winner"], printed["configurations"][0]
    assert winner["configuration"] == best["configuration"]
    assert winner["auroc"] == sorted(best["aurocs"].values())[1]
    load_bundle(folder / "winner")
    report = read_report(folder / "winner")
    assert report["training"]["seed"] == winner["seed"]
    assert report["training"]["optimizer"] == winner["configuration"]["optimizer"]
    assert report["validation"]["model"]["auroc"] == pytest.approx(winner["auroc"], abs=0.02)


def test_the_command_rebuilds_the_winner_byte_for_byte(swept: tuple[Path, dict[str, Any]]) -> None:
    folder, printed = swept
    command = (folder / "command.txt").read_text("utf-8")
    assert command == printed["winner"]["command"] + "\n"
    program, *arguments = shlex.split(command)
    assert program == "memeguard"
    run(memeguard(*arguments))
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (folder / "rebuilt" / name).read_bytes() == (folder / "winner" / name).read_bytes()


def test_a_killed_sweep_is_resumed_with_the_same_results_and_never_reads_the_test_split(
    demo_folder: Path, clip_folder: Path, tmp_path: Path, swept: tuple[Path, dict[str, Any]]
) -> None:
    data, journal = tmp_path / "data", tmp_path / "out/journal.log"
    shutil.copytree(demo_folder, data)
    (data / "Split Dataset/Testing_meme_dataset.csv").write_text("what nobody can read", encoding="utf-8")
    command = sweep_command(data, clip_folder, tmp_path)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while num_complete(journal) < 2:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            process.kill()
    assert 2 <= num_complete(journal) < 6
    settings = SweepSettings(
        data=data,
        out=tmp_path / "out",
        space=tmp_path / "space.toml",
        num_trials=None,
        num_jobs=1,
        backbone=str(clip_folder),
        settings={"num_epochs": NUM_EPOCHS},
        device="cpu",
        cache_dir=tmp_path / "cache",
        options={name: f"--{name}" for name in TrainingConfig.__dataclass_fields__},
    )
    sweep(settings, as_json=True)
    assert num_complete(journal) == 6
    ended = json.loads((tmp_path / "out/leaderboard.json").read_text("utf-8"))
    assert ended["configurations"] == swept[1]["configurations"]


def num_complete(journal: Path) -> int:
    if not journal.exists():
        return 0
    storage = JournalStorage(JournalFileBackend(str(journal)))
    studies = storage.get_all_studies()
    return storage.get_n_trials(studies[0]._study_id, TrialState.COMPLETE) if studies else 0


def test_settings_and_seeds_reach_the_training(demo_folder: Path, clip_folder: Path, tmp_path: Path) -> None:
    splits = {name: list(read_split(demo_folder, name)) for name in ("train", "validation")}
    prepare = PrepareTraining(
        splits=splits, backbone=str(clip_folder), tunes=("head", None), device="cpu", cache_dir=tmp_path
    )
    evaluate = prepare()

    def fitted(**settings: Any) -> float:
        return evaluate(TrainingConfig.preset(num_epochs=3, batch_size=4, learning_rate=1e-2, **settings))

    assert fitted(tune="head") == fitted() == fitted()
    assert len({fitted(), fitted(seed=1), fitted(optimizer="sgd"), fitted(hidden_dim=8)}) > 2

"""``memeguard train``: killed at any moment and resumed, it writes the same bytes; what it cannot do, it says."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file
from torch.nn import functional

from cli.main import main
from memeguard.bundle import load_bundle
from memeguard.bundle_files import read_report
from memes.reading import read_splits
from tests.ordinary_user import run_as_ordinary_user
from tests.training import two_processes
from tests.training.full_disk import largest_file
from training import stepper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess

# Each process is forked from one that has imported torch already; this saves seconds and changes nothing else.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["training.run", "evaluation.metrics_table", __name__])
REPOSITORY = Path(__file__).parents[2]


def run_main(arguments: list[str], log: Path) -> None:
    """What a shell does for ``memeguard``."""
    with log.open("ab") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    torch.set_num_threads(1)
    main(arguments)


def start(arguments: list[str], log: Path) -> BaseProcess:
    process = CONTEXT.Process(target=run_main, args=(arguments, log), daemon=True)
    process.start()
    return process


def finish(process: BaseProcess) -> int | None:
    process.join(120)
    return process.exitcode


def times_of(folder: Path) -> dict[str, int]:
    """Names and times of the last change."""
    return {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(folder)}


def wait_for_steps(process: BaseProcess, checkpoint: Path, num: int) -> None:
    """Until ``checkpoint`` has been replaced ``num`` times at least, or the process is over."""
    seen = None
    while num and process.is_alive():
        with contextlib.suppress(FileNotFoundError):
            changed = checkpoint.stat().st_mtime_ns
            num -= changed != seen
            seen = changed
        time.sleep(0.001)


@pytest.fixture(scope="module")
def arguments(demo_folder: Path, clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    cache = tmp_path_factory.mktemp("cache")
    return ["train", "--data", str(demo_folder), "--backbone", str(clip_folder), "--cache", str(cache), "--device",
            "cpu", "--folds", "2", "--epochs", "10", "--batch-size", "8", "--checkpoint-every", "0"]  # fmt: skip


@pytest.fixture(scope="module")
def finished(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose training nobody interrupted; nobody may change it."""
    folder = tmp_path_factory.mktemp("finished")
    assert finish(start([*arguments, "--out", str(folder / "mine")], folder / "log")) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["log", "mine"]
    return folder / "mine"


@pytest.fixture(scope="module")
def killed(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder beside which a training was killed; nobody may change it."""
    folder = tmp_path_factory.mktemp("killed")
    process = start([*arguments, "--out", str(folder / "mine")], folder / "log")
    wait_for_steps(process, folder / "mine.checkpoints" / "model.safetensors", 6)
    process.kill()
    assert finish(process) == -signal.SIGKILL
    assert (folder / "mine.checkpoints" / "model.safetensors").exists()
    return folder


@pytest.fixture
def interrupted(killed: Path, tmp_path: Path) -> Path:
    """Where the bundle would be; its training was killed."""
    shutil.copytree(killed / "mine.checkpoints", tmp_path / "mine.checkpoints")
    return tmp_path / "mine"


def invoke(arguments: list[str], *more: str) -> Result:
    return CliRunner().invoke(main, [*arguments, *more])


def test_a_training_killed_again_and_again_writes_the_same_bytes(
    arguments: list[str], finished: Path, tmp_path: Path
) -> None:
    rng = random.Random(0)
    command = [*arguments, "--out", str(tmp_path / "mine"), "--resume"]
    num_killed = 0
    for part in ("model", "model", "fold-1", "fold-1", "fold-2"):
        process = start(command, tmp_path / "log")
        wait_for_steps(process, tmp_path / "mine.checkpoints" / f"{part}.safetensors", rng.randint(1, 9))
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        num_killed += finish(process) == -signal.SIGKILL
    assert num_killed >= 3  # on a machine that looks away for long, the last one may have come to its end
    assert finish(start(command, tmp_path / "log")) == 0
    for name in ("model.safetensors", "config.json", "report.json", "tokenizer.json"):
        assert (tmp_path / "mine" / name).read_bytes() == (finished / name).read_bytes(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "mine"]


def test_an_interrupted_training_is_not_discarded_unasked(arguments: list[str], interrupted: Path) -> None:
    before = times_of(interrupted.with_name("mine.checkpoints"))
    result = invoke(arguments, "--out", str(interrupted))
    assert result.exit_code == 1
    hint = "add --resume to continue it, or remove that folder"
    assert result.output == f"Error: {interrupted}.checkpoints contains an interrupted training: {hint}\n"
    assert times_of(interrupted.with_name("mine.checkpoints")) == before


def test_another_setting_is_named(arguments: list[str], interrupted: Path) -> None:
    result = invoke(arguments, "--out", str(interrupted), "--resume", "--batch-size", "9")
    assert result.exit_code == 1
    assert "is of another training: batch_size was 8, now it is 9" in result.output
    assert result.output.count("\n") == 1
    assert not interrupted.exists()


def test_a_training_is_not_resumed_with_other_data(
    arguments: list[str], interrupted: Path, demo_folder: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(demo_folder, tmp_path / "data")
    (table,) = data.rglob("Training_meme_dataset.csv")
    table.write_bytes(table.read_bytes().replace(b"portrait", b"painting"))
    result = invoke(arguments, "--out", str(interrupted), "--resume", "--data", str(data))
    assert result.exit_code == 1
    assert "data_sha256 was '" in result.output


@pytest.fixture
def moved(clip_folder: Path) -> Iterator[Path]:
    """The backbone's folder, with other weights until the test ends."""
    path = clip_folder / "model.safetensors"
    before = path.read_bytes()
    save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    try:
        yield clip_folder
    finally:
        path.write_bytes(before)


def test_a_training_is_not_resumed_with_other_weights_of_the_backbone(
    arguments: list[str], interrupted: Path, moved: Path
) -> None:
    result = invoke(arguments, "--out", str(interrupted), "--resume")
    assert result.exit_code == 1
    assert re.search(r"is of another training: backbone_sha256 was '[0-9a-f]{64}', now it is '", result.output)
    assert not interrupted.exists()


def test_a_finished_bundle_of_other_weights_is_not_taken_for_this_one(
    arguments: list[str], finished: Path, moved: Path
) -> None:
    result = invoke(arguments, "--out", str(finished), "--resume")
    assert result.exit_code == 1
    assert "complete, but of another training: backbone_sha256 was '" in result.output


def test_a_finished_bundle_that_does_not_say_its_weights_is_complete(
    arguments: list[str], finished: Path, moved: Path, tmp_path: Path
) -> None:
    """Those of older versions do not."""
    older = shutil.copytree(finished, tmp_path / "older")
    report = json.loads((older / "report.json").read_text("utf-8"))
    del report["backbone_sha256"], report["backbone_commit"]
    (older / "report.json").write_text(json.dumps(report), "utf-8")
    assert invoke(arguments, "--out", str(older), "--resume").exit_code == 0


def test_a_damaged_checkpoint_is_one_line(arguments: list[str], interrupted: Path) -> None:
    path = interrupted.with_name("mine.checkpoints") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    result = invoke(arguments, "--out", str(interrupted), "--resume")
    assert result.exit_code == 1
    assert "model.safetensors is damaged: " in result.output
    assert result.output.endswith("; remove it to start again\n")


def test_a_finished_bundle_is_left_alone(arguments: list[str], finished: Path) -> None:
    before = times_of(finished)
    result = invoke(arguments, "--out", str(finished), "--resume")
    assert (result.exit_code, result.output) == (0, f"{finished} is complete\n")
    result = invoke(arguments, "--out", str(finished))
    assert result.exit_code == 1
    assert "is not empty: it contains 'config.json'; choose a new or an empty folder" in result.output
    assert times_of(finished) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--lr", "0.5"], r"of another training: learning_rate was [\d.]+, now it is 0\.5"),
        (["--backbone", "tiny"], r"of another training: backbone was '.*', now it is 'tiny'"),
        (["--lr", "-1"], r"learning_rate is -1"),
    ],
)
def test_a_finished_bundle_of_another_training_is_not_taken_for_this_one(
    arguments: list[str], finished: Path, change: list[str], message: str
) -> None:
    result = invoke(arguments, "--out", str(finished), "--resume", *change)
    assert result.exit_code == 1
    assert re.search(message, result.output)


def test_a_disk_that_is_full_at_the_end_costs_no_work(arguments: list[str], tmp_path: Path) -> None:
    """The bundle is larger than a small head's checkpoint."""
    command = [*arguments, "--projection-dim", "8", "--hidden-dim", "8", "--out", str(tmp_path / "mine")]
    with largest_file(100_000):
        result = invoke(command)
    assert result.exit_code == 1
    assert "mine cannot be written: " in result.output
    assert "Nothing is lost: run the same command with --resume to continue." in result.output
    assert invoke(command, "--resume").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("notes.txt", "is not empty: it contains 'notes.txt'"), ("config.json", "does not belong to a memeguard bundle")],
)
def test_a_folder_that_is_no_bundle_is_not_complete(
    arguments: list[str], tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / name).write_text("{}", "utf-8")
    result = invoke(arguments, "--out", str(tmp_path), "--resume")
    assert result.exit_code == 1
    assert message in result.output


def test_what_is_left_of_a_finished_training_goes(arguments: list[str], interrupted: Path, finished: Path) -> None:
    shutil.copytree(finished, interrupted)
    assert invoke(arguments, "--out", str(interrupted), "--resume").exit_code == 0
    assert not interrupted.with_name("mine.checkpoints").exists()


def test_the_current_folder_can_be_filled(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = invoke(arguments, "--out", ".", "--epochs", "1", "--folds", "0")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in Path().iterdir()) == [
        "config.json",
        "model.safetensors",
        "report.json",
        "tokenizer.json",
    ]
    load_bundle(Path())
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_training_that_cannot_be_resumed_says_so_and_ends_well(arguments: list[str], tmp_path: Path) -> None:
    """The bundle's folder may be written; the one above it, where checkpoints belong, may not."""
    out = tmp_path / "mine"
    out.mkdir()
    tmp_path.chmod(0o555)
    command = ["-m", "cli.main", *arguments, "--out", out, "--epochs", "1", "--folds", "0"]
    try:
        done = run_as_ordinary_user([sys.executable, *command], cwd=REPOSITORY)
    finally:
        tmp_path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    load_bundle(out)
    warning = f"warning: this training cannot be resumed: {out}.checkpoints cannot be written: Permission denied"
    assert warning in done.stderr.splitlines()


def test_resuming_nothing_starts_a_training(arguments: list[str], finished: Path, tmp_path: Path) -> None:
    """So that a job that may be restarted always runs the same command."""
    result = invoke(arguments, "--out", str(tmp_path / "mine"), "--resume")
    assert result.exit_code == 0, result.output
    assert read_report(tmp_path / "mine") == read_report(finished)
    assert not (tmp_path / "mine.checkpoints").exists()


@pytest.mark.parametrize("event", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_says_how_to_continue(arguments: list[str], tmp_path: Path, event: signal.Signals) -> None:
    process = start([*arguments, "--out", str(tmp_path / "mine"), "--epochs", "1000", "--patience", "1000"],
                    tmp_path / "log")  # fmt: skip
    wait_for_steps(process, tmp_path / "mine.checkpoints" / "model.safetensors", 3)
    os.kill(process.pid, event)
    assert finish(process) == {signal.SIGINT: 1, signal.SIGTERM: 143}[event]
    log = (tmp_path / "log").read_text("utf-8")
    assert "Nothing is lost: run the same command with --resume to continue." in log
    assert "Traceback" not in log
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "mine.checkpoints"]


def test_after_an_explosion_training_resumes_with_a_lower_rate(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(range(1000))
    cross_entropy: Callable[..., torch.Tensor] = functional.binary_cross_entropy_with_logits

    def explode(*tensors: torch.Tensor, **settings: object) -> torch.Tensor:
        return cross_entropy(*tensors, **settings) * (float("inf") if next(steps) == 7 else 1.0)

    command = [*arguments, "--out", str(tmp_path / "mine"), "--optimizer", "sgd", "--folds", "0"]
    with monkeypatch.context() as patch:
        patch.setattr(stepper.functional, "binary_cross_entropy_with_logits", explode)
        result = invoke(command, "--lr", "10")
    assert result.exit_code == 1
    assert "the loss is inf in epoch 2; choose a learning rate below 10.0 and add --resume" in result.output
    result = invoke(command, "--lr", "0.1", "--resume")
    assert result.exit_code == 0, result.output
    assert [len(read_report(tmp_path / "mine")["epochs"]), next(steps)] == [10, 8]
    assert read_report(tmp_path / "mine")["training"]["learning_rate"] == 0.1
    load_bundle(tmp_path / "mine")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_two_processes_learn_what_one_learns(
    demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifteen memes to validate; of forty, thirteen a step, so that one is left for a step that both make.

    Shares of seven and six go through the network in seven and six parts. The processes add the same numbers in
    another order: 1e-6 of a weight's move, which is 0.1 a step at most.
    """
    data = shutil.copytree(demo_folder, tmp_path / "data")
    (table,) = data.rglob("Validation_meme_dataset.csv")
    table.write_bytes(b"".join(table.read_bytes().splitlines(keepends=True)[:-1]))
    command = ["train", "--data", str(data), "--device", "cpu", "--optimizer", "sgd", "--lr", "0.1", "--epochs", "2",
               "--batch-size", "13", "--accumulate", "7", "--checkpoint-every", "0"]  # fmt: skip
    # `accelerate launch --cpu --num_processes 2` would start one process only: it leaves several CPUs to mpirun.
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port()), "-m"]
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, *launch, two_processes.__name__, tmp_path / "ranks", *command, "--out", tmp_path / "two"],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    monkeypatch.setattr("training.experiment._DROPOUT_FROM_SCRATCH", (0.0, 0.0, 0.0))
    result = invoke(command, "--out", str(tmp_path / "one"))
    assert result.exit_code == 0, result.output
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert sorted((tmp_path / "ranks").read_text("utf-8").splitlines()) == ["0 of 2", "1 of 2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "one", "ranks", "tmp", "two"]

    one, two = (read_report(tmp_path / name) for name in ("one", "two"))
    for alone, shared in zip(one["epochs"], two["epochs"], strict=True):
        assert shared == pytest.approx(alone, rel=1e-4)
    assert two["temperature"] == pytest.approx(one["temperature"], rel=1e-2)
    weights = load_file(tmp_path / "one" / "model.safetensors")
    for name, tensor in load_file(tmp_path / "two" / "model.safetensors").items():
        torch.testing.assert_close(tensor, weights[name], rtol=0, atol=1e-5)


def test_a_damaged_picture_is_left_out_on_request_and_listed(
    arguments: list[str], demo_folder: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(demo_folder, tmp_path / "data")
    path = next((data / "Labelled Images").glob("train_*"))
    path.write_bytes(path.read_bytes()[:200])
    command = [*arguments, "--data", str(data), "--out", str(tmp_path / "mine")]
    refused = invoke(command)
    assert refused.exit_code == 1
    assert f"unreadable picture, '{path.name}'" in refused.output
    result = invoke(command, "--skip-damaged", "1")
    assert result.exit_code == 0, result.output
    assert "left out 1 faulty meme:" in result.output
    report = read_report(tmp_path / "mine")["data"]
    (line,) = report["skipped"]
    assert line.startswith("Training_meme_dataset.csv, row ")
    assert path.name in line
    assert str(tmp_path) not in line
    assert report["num_memes"]["train"] == len(read_splits(demo_folder)["train"]) - 1


def test_an_operating_point_that_the_memes_cannot_support_is_refused_but_the_bundle_is_kept(
    arguments: list[str], tmp_path: Path
) -> None:
    points = ["--operating-point", "precision=0.9", "--operating-point", "recall=0.5"]
    result = invoke([*arguments, *points, "--epochs", "1"], "--out", str(tmp_path / "mine"))
    assert result.exit_code == 3
    assert "recall=0.5 (40 memes): threshold " in result.output
    assert "recall=0.5 (16 memes): threshold " in result.output
    assert (
        "Error: the bundle is written without precision=0.9\noperating point precision=0.9 needs at least 100 flagged "
        "memes to be measured; there are 40 out-of-fold memes in all."
    ) in result.output
    report, labels = read_report(tmp_path / "mine"), load_bundle(tmp_path / "mine").classifier.config.labels
    assert list(report["operating_points_refused"]) == ["precision=0.9"]
    point = report["operating_points"]["recall=0.5"]
    assert point["out-of-fold"]["recall"]["value"] >= 0.5
    assert labels.operating_points == {"recall=0.5": point["out-of-fold"]["threshold"]}
    assert point["validation"]["threshold"] == point["out-of-fold"]["threshold"]

    again = invoke([*arguments, *points, "--epochs", "1", "--resume"], "--out", str(tmp_path / "mine"))
    assert again.exit_code == 0
    more = ["--operating-point", "recall=0.6", "--epochs", "1", "--resume"]
    refused = invoke([*arguments, *more], "--out", str(tmp_path / "mine"))
    assert refused.exit_code == 1
    assert "the bundle is complete, but without the operating point recall=0.6; memeguard archive" in refused.output


def test_a_malformed_operating_point_is_refused_before_training(arguments: list[str], tmp_path: Path) -> None:
    result = invoke(arguments, "--out", str(tmp_path / "mine"), "--operating-point", "precision=90")
    assert result.exit_code == 1
    assert "Error: operating point 'precision=90': '90' is not a number between 0 and 1, such as 0.9" in result.output
    assert not list(tmp_path.iterdir())


def test_the_calibration_is_told(arguments: list[str], finished: Path) -> None:
    log = (finished.parent / "log").read_text("utf-8")
    found = re.search(
        r"calibration \(16 memes\): ECE (0\.\d{3}) \(.*\) → (0\.\d{3}) .*Brier (0\.\d{3}) .*→ (0\.\d{3})", log
    )
    assert found
    calibration = read_report(finished)["calibration"]["validation"]
    figures = [calibration[when][name]["value"] for name in ("ece", "brier") for when in ("before", "after")]
    assert [f"{figure:.3f}" for figure in figures] == list(found.groups())

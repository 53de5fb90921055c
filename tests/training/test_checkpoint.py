"""A checkpoint is whole or not there, belongs to one training, and costs nothing but itself when it fails."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open

from tests.training.full_disk import largest_file
from tests.training.synthetic_inputs import LABELS, Features
from training import checkpoint as checkpoint_module
from training.checkpoint import Checkpoint, Checkpoints
from training.config import TrainingConfig, TrainingError
from training.loop import fit
from training.optimization import ParameterGroup

if TYPE_CHECKING:
    from memeguard.bundle import Bundle

SETTINGS = {"learning_rate": 1e-3, "batch_size": 32, "tune": None, "num_memes": {"train": 40}, "part": "model"}
TENSORS = {"weight.a": torch.arange(6.0).view(2, 3).T, "optimizer.a.step": torch.tensor(3.0)}
STATE = {"epoch": 2, "loss": 0.1 + 0.2, "history": [{"loss": 1 / 3, "validation_auroc": 0.5}]}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    """One that was written."""
    checkpoint = Checkpoint(path=tmp_path / "kept" / "model.safetensors", settings=SETTINGS)
    checkpoint.write(TENSORS, STATE)
    return checkpoint


def assert_holds(checkpoint: Checkpoint, state: dict[str, object] = STATE) -> None:
    tensors, found = checkpoint.read()
    assert found == state  # floats to the last bit
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())


def test_what_was_written_is_read(checkpoint: Checkpoint) -> None:
    assert_holds(checkpoint)
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["model.safetensors"]


def test_nothing_written_is_nothing_read(tmp_path: Path) -> None:
    assert Checkpoint(path=tmp_path / "kept" / "model.safetensors", settings={}).read() is None
    assert not (tmp_path / "kept").exists()


def test_a_checkpoint_is_plain_safetensors(checkpoint: Checkpoint) -> None:
    """Nothing in it runs when it is read."""
    content = checkpoint.path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert header.keys() == {"__metadata__", *TENSORS}
    assert json.loads(header["__metadata__"]["state"]) == STATE
    assert len(content) == 8 + length + 7 * 4
    with safe_open(checkpoint.path, "np") as file:
        assert set(file.keys()) == set(TENSORS)


@pytest.mark.parametrize("where", ["save_file", "fsync", "replace"])
@pytest.mark.parametrize("event", [KeyboardInterrupt, OSError(errno.ENOSPC, "No space left on device")])
def test_a_write_that_is_cut_off_leaves_the_old_state(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, where: str, event: BaseException
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise event

    owner = {"save_file": checkpoint_module, "fsync": os, "replace": Path}[where]
    with monkeypatch.context() as patch:
        patch.setattr(owner, where, stop)
        with pytest.raises((KeyboardInterrupt, OSError)):
            checkpoint.write({"weight.a": torch.zeros(9)}, {"epoch": 3})
    assert_holds(checkpoint)
    checkpoint.write(TENSORS, {"epoch": 4})
    assert_holds(checkpoint, {"epoch": 4})


def test_a_first_write_that_is_cut_off_leaves_nothing_to_resume_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(folder=tmp_path / "kept")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            checkpoints.named("model").write(TENSORS, STATE)
    assert not checkpoints.exist()
    assert checkpoints.named("model").read() is None


@pytest.mark.parametrize("share", [0.0, 0.005, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_told_in_one_line(checkpoint: Checkpoint, share: float) -> None:
    content = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(TrainingError, match=r"model\.safetensors is damaged: .*; remove it to start again$") as caught:
        checkpoint.read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("offset", [3, 8, 60, 130])
def test_a_damaged_header_is_noticed(checkpoint: Checkpoint, offset: int) -> None:
    content = bytearray(checkpoint.path.read_bytes())
    content[offset] ^= 0xFF
    checkpoint.path.write_bytes(content)
    with pytest.raises(TrainingError, match="is damaged"):
        checkpoint.read()


def test_one_damaged_bit_in_a_weight_is_noticed(checkpoint: Checkpoint) -> None:
    content = bytearray(checkpoint.path.read_bytes())
    content[-3] ^= 1
    checkpoint.path.write_bytes(content)
    with pytest.raises(TrainingError, match="is damaged"):
        checkpoint.read()


def test_somebody_elses_safetensors_are_no_checkpoint(checkpoint: Checkpoint, bundle_folder: Path) -> None:
    checkpoint.path.write_bytes((bundle_folder / "model.safetensors").read_bytes())
    with pytest.raises(TrainingError, match="is damaged"):
        checkpoint.read()


def test_every_setting_that_differs_is_named_with_both_values(checkpoint: Checkpoint) -> None:
    settings = {**SETTINGS, "batch_size": 64, "tune": "lora", "num_memes": {"train": 41}}
    settings |= {"learning_rate": 5.0, "new": 1}
    other = Checkpoint(path=checkpoint.path, settings=settings)
    with pytest.raises(TrainingError, match="is of another training") as caught:
        other.read()
    message = str(caught.value).split("is of another training: ")[1]
    assert message.split("; ") == [
        "batch_size was 32, now it is 64",
        "new was None, now it is 1",
        "num_memes was {'train': 40}, now it is {'train': 41}",
        "tune was None, now it is 'lora'",
    ]


@pytest.mark.parametrize("name", ["learning_rate", "backbone_learning_rate", "device", "num_epochs", "patience"])
def test_settings_that_may_change_on_the_way_do(checkpoint: Checkpoint, name: str) -> None:
    assert_holds(Checkpoint(path=checkpoint.path, settings={**SETTINGS, name: "another"}))


@pytest.mark.parametrize("name", ["batch_size", "accumulation_steps", "optimizer", "seed", "weight_decay", "num_folds",
                                  "layer_decay", "precision", "modalities", "data_sha256", "backbone", "tune",
                                  "lora_dropout", "memeguard_version"])  # fmt: skip
def test_settings_that_make_another_training_do_not_change(checkpoint: Checkpoint, name: str) -> None:
    with pytest.raises(TrainingError, match=f"{name} was .*, now it is 'another'"):
        Checkpoint(path=checkpoint.path, settings={**SETTINGS, name: "another"}).read()


def test_each_training_of_a_command_has_its_own_file(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path / "kept", every_s=3.0).for_settings({"seed": 1})
    assert not checkpoints.exist()
    for name in ("model", "fold-1"):
        checkpoints.named(name).write(TENSORS, {"epoch": len(name)})
    assert checkpoints.exist()
    assert checkpoints.named("fold-1").every_s == 3.0
    assert [checkpoints.named(name).read()[1]["epoch"] for name in ("model", "fold-1")] == [5, 6]
    checkpoints.named("model").path.rename(checkpoints.named("fold-2").path)
    with pytest.raises(TrainingError, match="part was 'model', now it is 'fold-2'"):
        checkpoints.named("fold-2").read()
    checkpoints.remove()
    assert not checkpoints.exist()
    assert not (tmp_path / "kept").exists()
    checkpoints.remove()  # what is gone may go again


def train_head(bundle: Bundle, checkpoint: Checkpoint | None) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    head = bundle.classifier.head
    torch.manual_seed(0)
    for module in head.modules():
        if isinstance(module, torch.nn.Linear):
            module.reset_parameters()
    inputs = {"train": Features(), "validation": Features()}
    labels = {"train": LABELS, "validation": LABELS}
    config = TrainingConfig(num_epochs=2, batch_size=8, device="cpu")
    history = fit(bundle.classifier, inputs, labels, config, [ParameterGroup(list(head.parameters()), 1e-2)],
                  checkpoint=checkpoint)  # fmt: skip
    return history, {name: tensor.clone() for name, tensor in head.state_dict().items()}


@pytest.fixture
def own_bundle(bundle_folder: Path) -> Bundle:
    from memeguard.bundle import load_bundle  # noqa: PLC0415 - as in conftest.py

    return load_bundle(bundle_folder)


@pytest.mark.parametrize("where", ["fsync", "mkdir"])
def test_a_full_disk_costs_the_checkpoint_and_not_the_training(
    own_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    expected_history, expected = train_head(own_bundle, None)
    monkeypatch.setattr({"fsync": os, "mkdir": Path}[where], where, refuse)
    checkpoint = Checkpoint(path=tmp_path / "kept" / "model.safetensors", settings={}, every_s=0.0)
    history, weights = train_head(own_bundle, checkpoint)
    assert history == expected_history
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    assert "model.safetensors is not written: [Errno 28] No space left on device" in capsys.readouterr().err


def test_a_disk_that_is_really_full_costs_the_checkpoint_and_not_the_training(
    own_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, expected = train_head(own_bundle, None)
    checkpoint = Checkpoint(path=tmp_path / "kept" / "model.safetensors", settings={}, every_s=0.0)
    with largest_file(4096):
        _, weights = train_head(own_bundle, checkpoint)
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    assert "model.safetensors is not written: " in capsys.readouterr().err
    assert checkpoint.read() is None

"""Where a network learns: a device by name, and a precision that one training does not leave to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from accelerate import PartialState

from memeguard.errors import DeviceError
from training.devices import is_main_process, make_accelerator, training_device

if TYPE_CHECKING:
    from training.config import Precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["abacus", "cuda:99", "mps", ""])
def test_a_device_this_machine_lacks_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=f"device '{name}' is not available here"):
        training_device(name)


@pytest.mark.parametrize(
    ("available", "accelerates", "name"),
    [(True, "cuda", "cuda"), (True, "cpu", "cpu"), (False, "cuda", "cpu"), (False, "cpu", "cpu")],
)
def test_auto_is_a_gpu_where_there_is_one_and_accelerate_may_use_it(
    monkeypatch: pytest.MonkeyPatch, accelerates: str, name: str, *, available: bool
) -> None:
    PartialState()
    monkeypatch.setitem(PartialState._shared_state, "device", torch.device(accelerates))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert training_device("auto") == name
    assert training_device("cpu") == "cpu"


def test_auto_is_the_gpu_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number: a bare "cuda" is another one in a new thread, where the current device is the first."""
    PartialState()
    monkeypatch.setitem(PartialState._shared_state, "device", torch.device("cuda", 1))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert training_device("auto") == "cuda:1"


@pytest.mark.parametrize(("precision", "mixed"), [("auto", "no"), ("fp32", "no"), ("bf16", "bf16")])
@pytest.mark.parametrize("towers_learn", [False, True])
def test_each_training_has_the_precision_it_asked_for(precision: Precision, mixed: str, *, towers_learn: bool) -> None:
    """Accelerate keeps one for the whole process."""
    for other in ("bf16", "fp32"):
        make_accelerator(CPU, other, towers_learn=True)
        accelerator = make_accelerator(CPU, precision, towers_learn=towers_learn)
        assert accelerator.mixed_precision == mixed
        assert (accelerator.device, accelerator.num_processes) == (CPU, 1)


@pytest.mark.parametrize(
    ("kind", "has_bf16", "towers_learn", "mixed"),
    [("cuda", True, True, "bf16"), ("cuda", False, True, "no"), ("cuda", True, False, "no"), ("cpu", True, True, "no")],
)
def test_auto_is_mixed_for_towers_that_learn_on_a_gpu_that_has_it(
    monkeypatch: pytest.MonkeyPatch, kind: str, mixed: str, *, has_bf16: bool, towers_learn: bool
) -> None:
    monkeypatch.setattr("training.devices._has_bf16", lambda _: has_bf16)
    monkeypatch.setattr("training.devices.Accelerator", lambda **settings: settings["mixed_precision"])
    assert make_accelerator(torch.device(kind), "auto", towers_learn=towers_learn) == mixed


def test_a_process_alone_is_the_main_one() -> None:
    assert is_main_process()

"""Choose the device and the precision of a training; accelerate handles several processes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.state import AcceleratorState

from memeguard.devices import resolve_device

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.config import Precision


def training_device(name: str) -> str:
    """Resolve ``auto`` to this process's GPU, or else the CPU; raise ``DeviceError`` if a device is not available."""
    device = resolve_device(name)
    # With its number: a bare "cuda" is the first GPU in every new thread.
    return str(PartialState().device) if device == "cuda" else device


def is_main_process() -> bool:
    """Whether this is the main process of those that ``accelerate launch`` may have started."""
    return bool(PartialState().is_main_process)


@contextlib.contextmanager
def use_threads(num: int) -> Iterator[None]:
    """Run torch's operations on the CPU on ``num`` threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(num)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def make_accelerator(device: torch.device, precision: Precision, *, towers_learn: bool) -> Accelerator:
    """Make accelerate's object for one training: several processes if ``accelerate launch`` started them, else one.

    Args:
        device: Device of network and inputs.
        precision: ``auto`` is bf16 if towers are trained on a GPU that supports it, else fp32.
        towers_learn: Whether more than the head is trained.
    """
    if precision == "auto":
        suits = towers_learn and device.type == "cuda" and _has_bf16(device)
        precision = "bf16" if suits else "fp32"
    # accelerate keeps one state per process, precision included; the next training may need another precision.
    AcceleratorState._reset_state(reset_partial_state=PartialState().num_processes == 1)  # noqa: SLF001
    return Accelerator(
        mixed_precision="bf16" if precision == "bf16" else "no",
        cpu=device.type == "cpu",
        device_placement=False,  # inputs and classifier are on their device already
        # An ablation without captions gives the text tower no gradients.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def _has_bf16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))

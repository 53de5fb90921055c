"""Where a network learns: which device, in which precision, in how many processes (accelerate's business).

Does not know what is learnt.
"""

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
    """``auto`` is a GPU where there is one, each process's own; raises ``DeviceError`` for one this machine lacks."""
    device = resolve_device(name)
    # By number, where there are several: a bare "cuda" is the first one in every new thread.
    return str(PartialState().device) if device == "cuda" else device


def is_main_process() -> bool:
    """Whether this process speaks for all that ``accelerate launch`` may have started."""
    return bool(PartialState().is_main_process)


@contextlib.contextmanager
def use_threads(num: int) -> Iterator[None]:
    """Let torch's operations on the CPU run on ``num`` threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(num)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def make_accelerator(device: torch.device, precision: Precision, *, towers_learn: bool) -> Accelerator:
    """Accelerate's view of one training: several processes if ``accelerate launch`` started them, else one.

    Args:
        device: On which network and inputs lie.
        precision: ``auto`` is bf16 for towers that learn on a GPU that has it.
        towers_learn: Whether more than the head learns.
    """
    if precision == "auto":
        suits = towers_learn and device.type == "cuda" and _has_bf16(device)
        precision = "bf16" if suits else "fp32"
    # accelerate keeps one state for each process, with the precision in it; the next training may want another.
    AcceleratorState._reset_state(reset_partial_state=PartialState().num_processes == 1)  # noqa: SLF001
    return Accelerator(
        mixed_precision="bf16" if precision == "bf16" else "no",
        cpu=device.type == "cpu",
        device_placement=False,  # inputs come on their device, and so does the classifier
        # An ablation without captions leaves the text tower without gradients.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def _has_bf16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))

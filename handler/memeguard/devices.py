"""Which device of this machine computes."""

from __future__ import annotations

import torch

from memeguard.errors import DeviceError


def resolve_device(name: str) -> str:
    """``auto`` is a GPU where there is one; raises ``DeviceError`` for a device this machine lacks."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.empty(0, device=name).is_meta:
            raise RuntimeError("nothing can be computed on it")  # noqa: TRY301 - refused like the others
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"device {name!r} is not available here: {error}") from error
    return name

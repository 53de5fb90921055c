"""Select the environment variables that the servers get, by an allow-list, so that no secret leaks by accident."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from memeguard.errors import MemeguardError

if TYPE_CHECKING:
    from collections.abc import Collection

_NAMES = frozenset({
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "XDG_CACHE_HOME"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD"),  # for CUDA's libraries and another malloc
    *("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONFAULTHANDLER", "PYTHONUTF8"),
    *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_TF32_OVERRIDE"),  # not NVIDIA_API_KEY
    *("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "DO_NOT_TRACK"),
})  # fmt: skip
_FAMILIES = re.compile(
    r"(LC|OMP|GOMP|KMP|MKL|OPENBLAS|BLIS|NUMEXPR|ONEDNN|DNNL|OV|OPENVINO|TBB|CUDA|CUDNN|CUBLAS|NCCL|PYTORCH|ATEN|TORCH"
    r"|MALLOC|JEMALLOC|MIMALLOC|MEMEGUARD)_[A-Z0-9_]+",
    re.ASCII,
)
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|PWD|CREDENTIAL|AUTH", re.ASCII)
# In a worker, PYTHONPATH and its like precede the archive; TS_CONFIG_FILE replaces the configuration.
_FORBIDDEN = frozenset({"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "TS_CONFIG_FILE", "TMPDIR"})


class EnvironmentNameError(MemeguardError):
    """A variable cannot be passed on to the servers."""


def select_environment(pass_names: Collection[str] = ()) -> dict[str, str]:
    """Return the part of this process's environment that the servers get.

    Args:
        pass_names: Further variables to pass on, besides those that every server needs.

    Raises:
        EnvironmentNameError: A variable is not set, or would replace what is served.
    """
    for name in pass_names:
        if name in _FORBIDDEN:
            raise EnvironmentNameError(f"--pass-env {name}: it would replace what the servers run or where they write")
        if name not in os.environ:
            raise EnvironmentNameError(f"--pass-env {name}: there is no variable of that name")
    return {name: value for name, value in os.environ.items() if _is_allowed(name) or name in pass_names}


def _is_allowed(name: str) -> bool:
    return name in _NAMES or bool(_FAMILIES.fullmatch(name) and not _SECRET.search(name))

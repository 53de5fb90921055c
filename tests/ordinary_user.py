"""Start a program for which folders that may not be written are so, even when the tests run as root."""

from __future__ import annotations

import ctypes
import subprocess
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_PR_CAPBSET_DROP: Final = 24  # linux/prctl.h
_CAP_DAC_OVERRIDE: Final = 1  # linux/capability.h
_libc = ctypes.CDLL(None)


def run_as_ordinary_user(command: Sequence[Any], **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run ``command`` to its end and return what it printed; without root's right to write everywhere."""
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: _libc.prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0),
        **settings,
    )

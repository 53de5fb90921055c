"""The environment of each peer, pinned by constraints.txt and by a file in requirements/ for what the peer adds.

A peer without such a file needs nothing but what this project has, and runs in this project's environment.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]
_REQUIREMENTS: Final = Path(__file__).parent / "requirements"
_CONSTRAINTS: Final = REPOSITORY / "constraints.txt"
_SHARED: Final = {"original": "flask", "torchserve": "torchserve"}  # what identifies a peer that has no file


def peer_python(name: str, folder: Path) -> Path:
    """Return the Python of the peer ``name``, after installing its environment ``folder/name`` or updating its pins.

    Raises:
        subprocess.CalledProcessError: pip cannot install it.
    """
    if name in _SHARED:
        return Path(sys.executable)
    requirements = _REQUIREMENTS / f"{name}.txt"
    pins = hashlib.sha256(requirements.read_bytes() + _CONSTRAINTS.read_bytes()).hexdigest()
    venv = (folder / name).absolute()
    python = venv / "bin" / "python"
    stamp = venv / "installed"
    if stamp.is_file() and stamp.read_text(encoding="ascii") == pins:
        return python
    print(f"installing {name} into {venv} …", flush=True)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "-c", str(_CONSTRAINTS), "-r", str(requirements)]
    subprocess.run(install, check=True)
    stamp.write_text(pins, encoding="ascii")
    return python


def pinned_version(name: str) -> str:
    """Return what the peer is: the package that identifies it, with its version."""
    pins = dict(
        line.lower().split("==") for line in _CONSTRAINTS.read_text(encoding="utf-8").splitlines() if "==" in line
    )
    if name in _SHARED:
        return f"{_SHARED[name]}=={pins[_SHARED[name]]}"
    lines = (_REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line and not line.startswith("#"))

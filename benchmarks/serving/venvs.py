"""An environment for each peer: pinned by the repository's constraints.txt and a file in requirements/.

Does not know what is installed into them.
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


def ensure_venv(name: str, folder: Path) -> Path:
    """Return the Python of ``folder/name``, which is made if it is missing, and brought to the pins of now.

    Raises:
        subprocess.CalledProcessError: pip cannot install it.
    """
    requirements = _REQUIREMENTS / f"{name}.txt"
    pins = hashlib.sha256(requirements.read_bytes() + _CONSTRAINTS.read_bytes()).hexdigest()
    venv = folder / name
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
    """What the peer is: the first of its requirements, with the version."""
    lines = (_REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    first = next(line for line in lines if line and not line.startswith("#"))
    pins = dict(
        line.lower().split("==") for line in _CONSTRAINTS.read_text(encoding="utf-8").splitlines() if "==" in line
    )
    return first if "==" in first else f"{first}=={pins[first.lower()]}"

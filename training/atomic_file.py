"""Write a file such that nobody ever sees half of it. Does not know what is in it."""

from __future__ import annotations

import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Replace the file ``path`` at once: whoever reads it meanwhile sees the old one or the new one."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        staged = Path(scratch) / path.name
        staged.write_bytes(content)
        staged.replace(path)

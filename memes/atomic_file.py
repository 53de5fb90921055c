"""Write a file such that nobody ever sees half of it. Does not know what is in it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any


def write_whole_json(path: Path, content: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    """``write_whole`` for JSON; raises ``ValueError`` for a number that is none."""
    write_whole(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Replace the file ``path`` at once: whoever reads it meanwhile sees the old one or the new one."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        staged = Path(scratch) / path.name
        staged.write_bytes(content)
        staged.replace(path)

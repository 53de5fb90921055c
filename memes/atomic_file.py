"""Write a file atomically: a reader sees the old file or the new one, never a part."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any


def write_whole_json(path: Path, content: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    """Write ``content`` as JSON, see ``write_whole``; raises ``ValueError`` for NaN and infinity."""
    write_whole(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Replace the file ``path`` atomically."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        staged = Path(scratch) / path.name
        staged.write_bytes(content)
        staged.replace(path)

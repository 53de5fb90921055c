"""The folder for what later runs can reuse."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """The user's cache folder: ``$XDG_CACHE_HOME/memeguard``, by default ``~/.cache/memeguard``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "memeguard"

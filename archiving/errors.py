"""Errors of making an archive."""

from __future__ import annotations

from memeguard.errors import MemeguardError


class ArchiveError(MemeguardError):
    """An archive that cannot be made; nothing is left behind."""


class ToleranceError(ArchiveError):
    """An archive whose answers differ too much from the bundle's."""

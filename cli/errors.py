"""Errors of the commands that run servers."""

from memeguard.errors import MemeguardError


class ServeError(MemeguardError):
    """The servers cannot run."""

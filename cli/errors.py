"""What is told to whoever typed a command that cannot be carried out."""

from memeguard.errors import MemeguardError


class ServeError(MemeguardError):
    """The servers cannot run, and why."""

"""What keeps a job from being done, and what keeps one meme of it from being judged.

Knows nothing of exit statuses, nor of what a model makes of a meme.
"""

from __future__ import annotations

from memeguard.errors import MemeError, MemeguardError


class ScoringError(MemeguardError):
    """The job cannot be begun, gone on with or finished."""


class MissingFileError(MemeError):
    """There is no file where the source says that the picture is."""

    code = "missing_file"


class UnreadableFileError(MemeError):
    """Something is there, but it cannot be read."""

    code = "unreadable_file"


class InvalidRowError(MemeError):
    """A row of a list does not say which meme is meant."""

    code = "invalid_row"


class NoVerdictError(MemeError):
    """The network's answer is no number."""

    code = "no_verdict"

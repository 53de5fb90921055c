"""Errors of a scoring job."""

from __future__ import annotations

from memeguard.errors import MemeError, MemeguardError


class ScoringError(MemeguardError):
    """The job cannot be started, resumed or finished."""


class NoPredictionError(MemeError):
    """The network's answer for a meme is not a number."""

    code = "no_verdict"

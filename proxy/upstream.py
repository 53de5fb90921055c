"""What TorchServe answers, and the ways in which it may not.

Does not know how it is asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass(frozen=True, kw_only=True)
class UpstreamAnswer:
    """An HTTP answer: its status, and its body parsed from JSON, None where it is not JSON."""

    status: int
    body: Any

    @classmethod
    def parse(cls, status: int, content: bytes) -> UpstreamAnswer:
        """Read an answer's body, whatever media type it claims: a worker's errors come as text/plain."""
        try:
            return cls(status=status, body=json.loads(content, parse_constant=_refuse_constant))
        except ValueError:
            return cls(status=status, body=None)

    @property
    def error_type(self) -> str | None:
        """Return the Java exception TorchServe itself reports, None where a worker or nobody speaks."""
        is_own = isinstance(self.body, dict) and isinstance(self.body.get("code"), int)
        return str(self.body.get("type")) if is_own else None


class UpstreamError(Exception):
    """TorchServe gave no answer to work with; the message is fit for clients, the cause is for the log."""


class UpstreamUnavailable(UpstreamError):  # noqa: N818 - reads as what has happened
    """It cannot be reached, or does not let us in: worth trying again soon."""


class UpstreamTimeout(UpstreamError):  # noqa: N818
    """It took the request and did not answer in time."""


class UpstreamRefused(UpstreamError):  # noqa: N818
    """It declined a management request; ``answer`` says how."""

    def __init__(self, message: str, answer: UpstreamAnswer) -> None:
        super().__init__(message)
        self.answer = answer


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON, though Python reads and writes it")

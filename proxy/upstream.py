"""TorchServe's answers, and the errors of a request without one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass(frozen=True, kw_only=True)
class UpstreamAnswer:
    """An HTTP answer: its status, and its body parsed from JSON, or None if it is not JSON."""

    status: int
    body: Any

    @classmethod
    def parse(cls, status: int, content: bytes) -> UpstreamAnswer:
        """Parse an answer's body, whatever its media type: a worker's errors come as text/plain."""
        try:
            return cls(status=status, body=json.loads(content, parse_constant=_refuse_constant))
        except ValueError:
            return cls(status=status, body=None)

    @property
    def error_type(self) -> str | None:
        """Return the name of the Java exception that TorchServe itself reports; None if it reports none."""
        is_own = isinstance(self.body, dict) and isinstance(self.body.get("code"), int)
        return str(self.body.get("type")) if is_own else None


class UpstreamError(Exception):
    """TorchServe gave no usable answer. The message may be shown to clients; the cause is for the log."""


class UpstreamUnavailable(UpstreamError):  # noqa: N818 - the name says what happened
    """TorchServe cannot be reached, or refuses the keys; a later try may succeed."""


class UpstreamTimeout(UpstreamError):  # noqa: N818
    """TorchServe did not receive a request, or answer it, in time."""


class UpstreamRefused(UpstreamError):  # noqa: N818
    """TorchServe refused a management request with ``answer``."""

    def __init__(self, message: str, answer: UpstreamAnswer) -> None:
        super().__init__(message)
        self.answer = answer


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON, although Python reads and writes it")

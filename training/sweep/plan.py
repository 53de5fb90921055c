"""What a sweep tries, and what must be equal for two processes to work on one folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from memeguard.errors import MemeguardError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from training.sweep.search_space import SearchSpace

_FORMAT: Final = 2  # of a sweep's folder


class SweepError(MemeguardError):
    """A sweep that cannot start or continue."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The configurations of a sweep and what they are trained on.

    Attributes:
        space: The settings that vary and the seeds.
        settings: The settings that are the same for every configuration.
        backbone: Name of the backbone; one from the hub includes its commit.
        backbone_sha256: SHA-256 of the backbone's weights; None for a backbone made from scratch.
        data_sha256: SHA-256 of the labelled memes.
        version: Version of memeguard.
        num_trials: How many configurations to sample; None for a grid, which is tried in full.
        skipped: The memes that are left out, one line each.

    Raises:
        SweepError: ``num_trials`` is given for a grid, or missing for a space with a range.
    """

    space: SearchSpace
    settings: Mapping[str, Any]
    backbone: str
    backbone_sha256: str | None
    data_sha256: str
    version: str
    num_trials: int | None = None
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.space.is_grid and self.num_trials is not None:
            raise SweepError(
                f"a grid of {self.space.num_configurations} configurations is tried in full; --trials is for ranges"
            )
        if not self.space.is_grid and (self.num_trials is None or self.num_trials < 1):
            raise SweepError("a search space with a range is sampled; say with --trials how many configurations to try")

    @property
    def num_configurations(self) -> int:
        """How many configurations the finished sweep has tried."""
        return self.space.num_configurations if self.num_trials is None else self.num_trials

    def identity(self) -> dict[str, Any]:
        """Return what two processes on one folder must agree on, as JSON, by the name that an error shows.

        The number of trials is not part of it: a sweep of ranges may be continued with more.
        """
        identity = {
            "search space": self.space.to_json(),
            "settings": dict(self.settings),
            "backbone": self.backbone,
            "backbone weights": self.backbone_sha256,
            "data": self.data_sha256,
            "memeguard version": self.version,
            "folder format": _FORMAT,
            **({"left out": self.skipped} if self.skipped else {}),
        }
        loaded: dict[str, Any] = json.loads(json.dumps(identity))
        return loaded


def check_identity(folder: Path, found: Mapping[str, Any], plan: Plan) -> None:
    """Compare the identity that ``folder`` holds with the one of ``plan``.

    Raises:
        SweepError: They differ; the message names the first difference.
    """
    for name, value in plan.identity().items():
        if found.get(name) != value:
            was, now = _difference(found.get(name), value)
            raise SweepError(
                f"{folder} holds a sweep that differs in its {name}: there {was}, here {now}; choose another folder"
            )


def _difference(was: Any, now: Any) -> tuple[Any, Any]:  # noqa: ANN401 - any JSON value
    """Narrow two JSON objects down to their first different member; return other values as they are."""
    if isinstance(was, dict) and isinstance(now, dict):
        name = next(name for name in {**was, **now} if was.get(name) != now.get(name))
        was, now = (f"{name} {json.dumps(one[name])}" if name in one else f"no {name}" for one in (was, now))
    return was, now

"""The search space of a sweep: the settings that vary, the values each may take, and the seeds."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from memeguard.errors import MemeguardError
from training.config import TrainingConfig, TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Value = str | int | float
Configuration = dict[str, Value]

SEEDS: Final = "seeds"
DEFAULT_SEEDS: Final = (0, 1, 2)
MAX_CONFIGURATIONS: Final = 10_000  # a night, at three seeds of a second each


class SearchSpaceError(MemeguardError):
    """A search space that cannot be swept; the message names the setting, its value and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; integers if both are.

    Optuna's distributions are not used here: they replace a ``high`` that ``step`` does not reach.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None


Axis = tuple[Value, ...] | Range


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Axes by the name of their setting in ``TrainingConfig``. Without a range they span a grid."""

    axes: Mapping[str, Axis]
    seeds: tuple[int, ...] = DEFAULT_SEEDS

    @property
    def is_grid(self) -> bool:
        """Whether the space has no range."""
        return not any(isinstance(axis, Range) for axis in self.axes.values())

    @property
    def num_configurations(self) -> int:
        """Size of the grid spanned by the lists and the ends of the ranges."""
        return math.prod(len(_values(axis)) for axis in self.axes.values())

    def configurations(self) -> Iterator[Configuration]:
        """Yield every configuration of that grid; the last axis changes fastest."""
        for values in itertools.product(*map(_values, self.axes.values())):
            yield dict(zip(self.axes, values, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON values."""
        axes = {
            name: dataclasses.asdict(axis) if isinstance(axis, Range) else list(axis)
            for name, axis in self.axes.items()
        }
        return {**axes, SEEDS: list(self.seeds)}


# What the original service was tuned over by hand.
DEFAULT_SPACE: Final = SearchSpace(
    axes={
        "optimizer": ("sgd", "adam", "adamw"),
        "batch_size": (16, 32, 64),
        "learning_rate": (1e-3, 1e-4, 1e-5),
    }
)


def check_space(space: SearchSpace, settings: Mapping[str, Any]) -> None:
    """Build the configuration of every point of the grid, and of the ends of ranges, without training it.

    Args:
        space: What varies.
        settings: The settings that are the same for every configuration.

    Raises:
        SearchSpaceError: A configuration is invalid, a setting is in both, or there are too many configurations.
    """
    if both := [name for name in space.axes if name in settings]:
        raise SearchSpaceError(f"{both[0]} is set to {settings[both[0]]!r} for the whole sweep already; set it once")
    if space.is_grid and space.num_configurations > MAX_CONFIGURATIONS:
        raise SearchSpaceError(
            f"the lists span {space.num_configurations} configurations; the limit is {MAX_CONFIGURATIONS}: "
            "make one a range and sample with --trials"
        )
    for configuration in itertools.islice(space.configurations(), MAX_CONFIGURATIONS):
        try:
            TrainingConfig.preset(**{**settings, **configuration})
        except TrainingError as error:
            raise SearchSpaceError(str(error)) from error


def _values(axis: Axis) -> tuple[Value, ...]:
    return (axis.low, axis.high) if isinstance(axis, Range) else axis

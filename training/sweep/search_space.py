"""What a sweep tries: the settings it varies, the values each may take, and the seeds each configuration is run with.

Does not know how a configuration is trained, nor in which order they are tried.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import tomllib
import typing
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from memeguard.errors import MemeguardError
from training.config import TrainingConfig, TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Value = str | int | float
Configuration = dict[str, Value]

SEEDS: Final = "seeds"
DEFAULT_SEEDS: Final = (0, 1, 2)
MAX_CONFIGURATIONS: Final = 10_000  # at three seeds of a second each: a night
_NOT_SWEPT: Final = frozenset({"augment", "device", "seed", "storage"})


class SearchSpaceError(MemeguardError):
    """A search space that cannot be swept, and why: file, setting, value and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole ones if both are."""

    low: float
    high: float
    log: bool = False
    step: float | None = None


Axis = tuple[Value, ...] | Range


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Axes by the name of their setting in ``TrainingConfig``; without a range among them they span a grid."""

    axes: Mapping[str, Axis]
    seeds: tuple[int, ...] = DEFAULT_SEEDS

    @property
    def is_grid(self) -> bool:
        """Whether its configurations can be listed."""
        return not any(isinstance(axis, Range) for axis in self.axes.values())

    @property
    def num_configurations(self) -> int:
        """Of the grid that lists and the ends of ranges span."""
        return math.prod(len(_values(axis)) for axis in self.axes.values())

    def configurations(self) -> Iterator[Configuration]:
        """Every configuration of a grid, the last axis fastest; of a range, both ends."""
        for values in itertools.product(*map(_values, self.axes.values())):
            yield dict(zip(self.axes, values, strict=True))

    def to_json(self) -> dict[str, Any]:
        """What ``json`` can write, equal for equal spaces."""
        axes = {
            name: dataclasses.asdict(axis) if isinstance(axis, Range) else list(axis)
            for name, axis in self.axes.items()
        }
        return {**axes, SEEDS: list(self.seeds)}


# What the original service was tuned over, by hand.
DEFAULT_SPACE: Final = SearchSpace(
    axes={
        "optimizer": ("sgd", "adam", "adamw"),
        "batch_size": (16, 32, 64),
        "learning_rate": (1e-3, 1e-4, 1e-5),
    }
)


def read_space(path: Path, settings: Mapping[str, Any] | None = None) -> SearchSpace:
    """Read a search space from a TOML file.

    A list of values is a choice; a table with ``low`` and ``high``, and perhaps ``log`` or ``step``, is a range;
    ``seeds`` lists the seeds.

    Args:
        path: The file.
        settings: What is the same for every configuration; the space may not name it too.

    Raises:
        SearchSpaceError: It is no TOML, or something in it cannot be swept.
        OSError: It cannot be read.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are two of them
        raise SearchSpaceError(f"{path} is not TOML: {error}") from error
    try:
        space = _parse(content)
        check_space(space, settings or {})
    except SearchSpaceError as error:
        raise SearchSpaceError(f"{path}: {error}") from error
    return space


def check_space(space: SearchSpace, settings: Mapping[str, Any]) -> None:
    """Build every configuration of ``space``, of ranges the ends, with the other ``settings``, and train none.

    Raises:
        SearchSpaceError: One is refused, a setting is in both, or there are more than ``MAX_CONFIGURATIONS``.
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


def swept_names() -> tuple[str, ...]:
    """The settings a space may name."""
    return tuple(field.name for field in dataclasses.fields(TrainingConfig) if field.name not in _NOT_SWEPT)


def _parse(content: dict[str, Any]) -> SearchSpace:
    seeds = _parse_seeds(content.pop(SEEDS)) if SEEDS in content else DEFAULT_SEEDS
    if not content:
        raise SearchSpaceError(f"it names no setting; allowed are {', '.join(swept_names())}")
    types = typing.get_type_hints(TrainingConfig)
    axes: dict[str, Axis] = {}
    for name, entry in content.items():
        if name in _NOT_SWEPT:
            instead = "list seeds as `seeds = [0, 1, 2]`" if name == "seed" else "it is an option of the command"
            raise SearchSpaceError(f"{name} is not swept; {instead}")
        if name not in swept_names():
            raise SearchSpaceError(f"{name} is no setting; allowed are {', '.join(swept_names())}, {SEEDS}")
        kind = _kind(types[name])
        if isinstance(entry, list):
            axes[name] = _parse_choice(name, entry, kind)
        elif isinstance(entry, dict):
            axes[name] = _parse_range(name, entry, kind)
        else:
            raise SearchSpaceError(f"{name} is {entry!r}; it must be a list of values or a table with low and high")
    return SearchSpace(axes=axes, seeds=seeds)


def _parse_seeds(entry: Any) -> tuple[int, ...]:  # noqa: ANN401 - whatever TOML holds
    if not isinstance(entry, list) or not entry:
        raise SearchSpaceError(f"{SEEDS} is {entry!r}; it must be a list of whole numbers such as [0, 1, 2]")
    seeds = [int(_check_type(SEEDS, value, int)) for value in entry]
    _refuse_twice(SEEDS, seeds)
    for seed in seeds:
        try:
            TrainingConfig(seed=seed)
        except TrainingError as error:
            raise SearchSpaceError(f"{SEEDS}: {error}") from error
    return tuple(seeds)


def _parse_choice(name: str, entry: list[Any], kind: type) -> tuple[Value, ...]:
    if not entry:
        raise SearchSpaceError(f"{name} is an empty list; it must hold at least one value")
    values = [_check_type(name, value, kind) for value in entry]
    _refuse_twice(name, values)
    return tuple(values)


def _parse_range(name: str, entry: dict[str, Any], kind: type) -> Range:
    if kind is str:
        raise SearchSpaceError(f"{name} is a table; it has no numbers and must be a list of values")
    if unknown := [key for key in entry if key not in {"low", "high", "log", "step"}]:
        raise SearchSpaceError(f"{name} has {unknown[0]!r}; allowed are low, high, log and step")
    for key in ("low", "high"):
        if key not in entry:
            raise SearchSpaceError(f"{name} lacks {key}; a range has low and high")
    if not isinstance(log := entry.get("log", False), bool):
        raise SearchSpaceError(f"{name}.log is {log!r}; it must be true or false")
    numbers = {key: _check_number(f"{name}.{key}", entry[key], kind) for key in ("low", "high", "step") if key in entry}
    low, high, step = numbers["low"], numbers["high"], numbers.get("step")
    if low >= high:
        raise SearchSpaceError(f"{name}.low is {low}; it must be below high, which is {high}")
    if log and low <= 0:
        raise SearchSpaceError(f"{name}.low is {low}; it must be above 0 where log is true")
    if step is not None and log:
        raise SearchSpaceError(f"{name}.step is {step}; it must be left out where log is true")
    if step is not None and (step <= 0 or (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step))):
        raise SearchSpaceError(f"{name}.step is {step}; it must go into {low} to {high} without a rest")
    return Range(low=low, high=high, log=log, step=step)


def _check_number(name: str, value: Any, kind: type) -> float:  # noqa: ANN401 - whatever TOML holds
    number = _check_type(name, value, kind)
    if isinstance(number, str) or not math.isfinite(number):
        raise SearchSpaceError(f"{name} is {value!r}; it must be a finite number")
    return number


def _check_type(name: str, value: Any, kind: type) -> Value:  # noqa: ANN401 - whatever TOML holds
    expected = {str: "text", int: "a whole number", float: "a number"}[kind]
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise SearchSpaceError(f"{name} has {value!r}; it must be {expected}")
    converted: Value = kind(value)
    return converted


def _refuse_twice(name: str, values: list[Any]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise SearchSpaceError(f"{name} lists {value!r} twice")


def _kind(annotation: Any) -> type:  # noqa: ANN401 - annotations have no type of their own
    """What TOML must hold for a setting of that type: ``float``, ``int``, or ``str`` for one of some words."""
    members = {annotation, *typing.get_args(annotation)}
    return next((kind for kind in (float, int) if kind in members), str)


def _values(axis: Axis) -> tuple[Value, ...]:
    return (axis.low, axis.high) if isinstance(axis, Range) else axis

"""Read a search space from a TOML file."""

from __future__ import annotations

import dataclasses
import math
import tomllib
import typing
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from training.config import TrainingConfig, TrainingError
from training.sweep.search_space import (
    DEFAULT_SEEDS,
    SEEDS,
    Axis,
    Range,
    SearchSpace,
    SearchSpaceError,
    Value,
    check_space,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NOT_SWEPT: Final = frozenset({"augment", "device", "seed", "storage"})


def read_space(path: Path, settings: Mapping[str, Any] | None = None) -> SearchSpace:
    """Read a search space.

    A list of values is a choice. A table with ``low`` and ``high``, and perhaps ``log`` or ``step``, is a range.
    ``seeds`` lists the seeds.

    Args:
        path: A TOML file.
        settings: The settings that are the same for every configuration; the file may not contain them.

    Raises:
        SearchSpaceError: The file is not TOML, or something in it cannot be swept.
        OSError: The file cannot be read.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # TOMLDecodeError or UnicodeDecodeError
        raise SearchSpaceError(f"{path} is not TOML: {error}") from error
    try:
        space = _parse(content)
        check_space(space, settings or {})
    except SearchSpaceError as error:
        raise SearchSpaceError(f"{path}: {error}") from error
    return space


def swept_names() -> tuple[str, ...]:
    """Return the settings that a search space may contain."""
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
            raise SearchSpaceError(f"{name} cannot be swept; {instead}")
        if name not in swept_names():
            raise SearchSpaceError(f"{name} is not a setting; allowed are {', '.join(swept_names())}, {SEEDS}")
        kind = _kind(types[name])
        if isinstance(entry, list):
            axes[name] = _parse_choice(name, entry, kind)
        elif isinstance(entry, dict):
            axes[name] = _parse_range(name, entry, kind)
        else:
            raise SearchSpaceError(f"{name} is {entry!r}; it must be a list of values or a table with low and high")
    return SearchSpace(axes=axes, seeds=seeds)


def _parse_seeds(entry: Any) -> tuple[int, ...]:  # noqa: ANN401 - any TOML value
    if not isinstance(entry, list) or not entry:
        raise SearchSpaceError(f"{SEEDS} is {entry!r}; it must be a list of whole numbers such as [0, 1, 2]")
    seeds = tuple(int(value) for value in _parse_choice(SEEDS, entry, int))
    for seed in seeds:
        try:
            TrainingConfig(seed=seed)
        except TrainingError as error:
            raise SearchSpaceError(f"{SEEDS}: {error}") from error
    return seeds


def _parse_choice(name: str, entry: list[Any], kind: type) -> tuple[Value, ...]:
    if not entry:
        raise SearchSpaceError(f"{name} is an empty list; it must hold at least one value")
    values = tuple(_check_type(name, value, kind) for value in entry)
    for index, value in enumerate(values):
        if value in values[:index]:
            raise SearchSpaceError(f"{name} lists {value!r} twice")
    return values


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
        raise SearchSpaceError(f"{name}.step is {step}; it must divide {low} to {high} without a remainder")
    return Range(low=low, high=high, log=log, step=step)


def _check_number(name: str, value: Any, kind: type) -> float:  # noqa: ANN401 - any TOML value
    number = _check_type(name, value, kind)
    if isinstance(number, str) or not math.isfinite(number):
        raise SearchSpaceError(f"{name} is {value!r}; it must be a finite number")
    return number


def _check_type(name: str, value: Any, kind: type) -> Value:  # noqa: ANN401 - any TOML value
    expected = {str: "text", int: "a whole number", float: "a number"}[kind]
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise SearchSpaceError(f"{name} has {value!r}; it must be {expected}")
    converted: Value = kind(value)
    return converted


def _kind(annotation: Any) -> type:  # noqa: ANN401 - annotations have no common type
    """Return the type that TOML must hold for a setting: ``float``, ``int``, or ``str`` for a named choice."""
    members = {annotation, *typing.get_args(annotation)}
    return next((kind for kind in (float, int) if kind in members), str)

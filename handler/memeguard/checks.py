"""Check the type and range of single settings, and that a loaded model gives a finite logit.

Pydantic would do the same for some twenty numbers, but costs 0.1 s and 18 MB in every worker.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from memeguard.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MAX_NAME_CHARS = 100


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number in [low, high]; True is not a number."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} is {_show(value)}; it must be a whole number from {low} to {high}")


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Raise ``ValueError`` unless ``value`` is a number in [low, high]; nan and True are not numbers."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} is {_show(value)}; it must be a number from {low:g} to {high:g}")


def check_numbers(name: str, values: object, num: int, low: float, high: float) -> None:
    """Raise ``ValueError`` unless ``values`` is a tuple of ``num`` numbers in [low, high]."""
    if not isinstance(values, tuple) or len(values) != num:
        raise ValueError(f"{name} is {_show(values)}; it must be {num} numbers")
    for value in values:
        check_number(name, value, low, high)


def check_named_numbers(name: str, values: object, max_num: int, low: float, high: float) -> None:
    """Raise ``ValueError`` unless ``values`` is a dictionary: at most ``max_num`` names of numbers in [low, high]."""
    if not isinstance(values, dict) or len(values) > max_num:
        raise ValueError(f"{name} is {_show(values)}; it must be at most {max_num} names with numbers")
    for word, value in values.items():
        check_word(f"a name in {name}", word, _MAX_NAME_CHARS)
        if not word.isprintable():
            raise ValueError(f"a name in {name} is {_show(word)}; it must be printable")
        check_number(f"{name}: {word}", value, low, high)


def check_word(name: str, value: object, max_chars: int) -> None:
    """Raise ``ValueError`` unless ``value`` is a string of at most ``max_chars`` characters."""
    if not isinstance(value, str) or len(value) > max_chars:
        raise ValueError(f"{name} is {_show(value)}; it must be a string of at most {max_chars} characters")


def is_positive(value: object) -> bool:
    """Return whether ``value`` is a finite number above 0; True is not a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 < value < math.inf


def check_answer(directory: Path, compute: Callable[[], float]) -> None:
    """Raise ``BundleError`` unless ``compute``, which runs the bundle's networks once, returns a finite logit."""
    try:
        logit = compute()
    except Exception as error:  # torch and OpenVINO raise many kinds
        raise BundleError(f"bundle {directory} cannot predict a meme: {error}") from error
    if not math.isfinite(logit):
        raise BundleError(f"bundle {directory} cannot predict a meme: its logit is {logit}")


def _show(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 100 else f"{shown[:100]}…"  # noqa: PLR2004 - as much as a line of an error holds

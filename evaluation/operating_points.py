"""Resolve operating points, such as ``precision=0.9``, to thresholds; refuse what the memes cannot show.

A meme is *flagged* if the answer is "offensive".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

import numpy as np

from evaluation.threshold_curve import point_on_curve
from memeguard.errors import MemeguardError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evaluation.statistics import Estimate
    from evaluation.threshold_curve import OperatingPoint, ThresholdCurve

Figure = Literal["precision", "recall", "flag-rate"]

# A share of 0.9 needs 100 memes, so that 10 are expected on its smaller side. Wilson's 95 % interval of 90 of 100 is
# 0.83 to 0.94; of 9 of 10 it would be 0.60 to 0.98, which says nothing about 0.9.
MIN_EITHER_SIDE: Final = 10
_ROUNDING: Final = 1e-9  # so that 9 of 10 is a share of 0.9


class OperatingPointError(MemeguardError):
    """An operating point that is malformed, or that the memes cannot support, and why."""


class RefusedPointsError(OperatingPointError):
    """A bundle that is written, but without an operating point that its memes cannot support."""

    exit_status = 3


class Target(NamedTuple):
    """What an operating point must reach: at least this precision or recall, or at most this share of flagged memes."""

    figure: Figure
    value: float

    @property
    def name(self) -> str:
        """The name of the operating point, such as "precision=0.9"."""
        return f"{self.figure}={self.value:.10g}"

    @property
    def num_needed(self) -> int:
        """Memes that must be counted: flagged ones for precision, offensive ones for recall, all for the flag rate."""
        return math.ceil(MIN_EITHER_SIDE / min(self.value, 1 - self.value) - _ROUNDING)


def parse_target(text: str) -> Target:
    """Read ``precision=0.9``, ``recall=0.8`` or ``flag-rate=0.02``; raise ``OperatingPointError`` for anything else."""
    figure, _, number = text.partition("=")
    names = get_args(Figure)
    if figure not in names:
        raise OperatingPointError(f"operating point {text!r} does not begin with one of {', '.join(names)} and =")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise OperatingPointError(f"operating point {text!r}: {number!r} is not a number between 0 and 1, such as 0.9")
    return Target(figure, value)  # type: ignore[arg-type]


def resolve(target: Target, curve: ThresholdCurve) -> OperatingPoint:
    """Find the threshold of the curve that reaches ``target`` and serves best otherwise.

    Of the thresholds of a precision, the one that flags most; of a recall, the one that flags fewest; of a flag rate,
    the one that flags most.

    Raises:
        OperatingPointError: The memes are too few, or no threshold reaches the target.
    """
    num_flagged, num_hits = np.array(curve.num_flagged), np.array(curve.num_hits)
    if target.figure == "precision":
        reached = num_hits >= target.value * num_flagged - _ROUNDING
        found = np.flatnonzero(reached & (num_flagged >= target.num_needed))
        if not len(found):
            raise OperatingPointError(_explain_precision(target, curve, np.flatnonzero(reached)))
        return point_on_curve(curve, int(found[-1]))
    counted = curve.num_offensive if target.figure == "recall" else curve.num
    if counted < target.num_needed:
        raise OperatingPointError(_explain_few(target, curve, counted))
    if target.figure == "recall":
        found = np.flatnonzero(num_hits >= target.value * counted - _ROUNDING)[:1]
    else:
        found = np.flatnonzero(num_flagged <= target.value * counted + _ROUNDING)[-1:]
    if not len(found):
        raise OperatingPointError(_explain_ties(target, curve))
    return point_on_curve(curve, int(found[0]))


def resolve_all(targets: Sequence[Target], curve: ThresholdCurve) -> tuple[dict[str, OperatingPoint], dict[str, str]]:
    """Resolve every target; return the operating points by name, and the reasons of those that are refused."""
    points: dict[str, OperatingPoint] = {}
    refused: dict[str, str] = {}
    for target in targets:
        try:
            points[target.name] = resolve(target, curve)
        except OperatingPointError as error:
            refused[target.name] = str(error)
    return points, refused


def find_misses(
    targets: Sequence[Target], measured: Mapping[str, OperatingPoint], chosen_on: str, measured_on: str
) -> list[str]:
    """Warn of every operating point that other memes contradict: its interval there lies beyond the target.

    Args:
        targets: What the points must reach.
        measured: The points' figures on the other memes, by name.
        chosen_on: Memes on which the points were resolved.
        measured_on: The other memes.
    """
    warnings = []
    for target in targets:
        if point := measured.get(target.name):
            estimate: Estimate = getattr(point, target.figure.replace("-", "_"))
            low, high = estimate.low or 0.0, 1.0 if estimate.high is None else estimate.high
            if (low > target.value) if target.figure == "flag-rate" else (high < target.value):
                warnings.append(
                    f"Operating point {target.name} was chosen on {chosen_on} memes; on the {measured_on} memes its "
                    f"{target.figure} is {_show(estimate)}: the two differ."
                )
    return warnings


def _explain_precision(target: Target, curve: ThresholdCurve, reached: np.ndarray[Any, Any]) -> str:
    """Why no threshold that flags enough memes has the precision; ``reached`` are thresholds that flag too few."""
    need, value = target.num_needed, f"{target.value:.10g}"
    words = f"operating point {target.name} needs at least {need:,} flagged memes to be measured"
    enough = [index for index, num in enumerate(curve.num_flagged) if num >= need]
    if enough:
        best = point_on_curve(curve, max(enough, key=lambda index: curve.num_hits[index] / curve.num_flagged[index]))
        words += f"; the best precision of so many is {_show(best.precision)}, with {best.num_flagged:,} flagged"
    else:
        words += f"; there are {curve.num:,} {curve.memes} memes in all"
    last = point_on_curve(curve, int(reached[-1])) if len(reached) else None
    if last is None or last.num_flagged < MIN_EITHER_SIDE:  # what fewer reach may be chance
        hint = "this takes a better model, not only more memes"
        return f"{words}. No threshold that flags {MIN_EITHER_SIDE} memes or more reaches {value}: {hint}"
    wanted = math.ceil(curve.num * need / last.num_flagged)
    return (
        f"{words}. Only {last.num_flagged:,} flagged memes or fewer reach {value}, at {_show(last.precision)}: too few "
        f"to tell; at least {wanted:,} memes like these {curve.num:,} would be needed"
    )


def _explain_few(target: Target, curve: ThresholdCurve, counted: int) -> str:
    kind = "offensive memes" if target.figure == "recall" else "memes"
    words = f"operating point {target.name} needs at least {target.num_needed:,} {kind} to be measured"
    if not counted:
        return f"{words}; none of the {curve.num:,} {curve.memes} memes is offensive"
    wanted = math.ceil(curve.num * target.num_needed / counted)
    among = f"{counted:,} of the {curve.num:,}" if target.figure == "recall" else f"{counted:,}"
    return f"{words}; there are {among} {curve.memes} memes, and {wanted:,} memes like these would be needed"


def _explain_ties(target: Target, curve: ThresholdCurve) -> str:
    if not curve.thresholds:
        return f"operating point {target.name} cannot be reached: all {curve.num} probabilities are 1"
    index = -1 if target.figure == "recall" else 0
    point = point_on_curve(curve, index)
    best = point.recall if target.figure == "recall" else point.flag_rate
    return (
        f"operating point {target.name} cannot be reached: {point.num_flagged} memes have the same probability, and "
        f"the nearest threshold reaches {_show(best)}"
    )


def _show(estimate: Estimate) -> str:
    return "n/a" if estimate.value is None else f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"

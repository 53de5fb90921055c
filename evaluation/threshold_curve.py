"""What every threshold would flag among held-out memes: the curve from which operating points are resolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from evaluation.statistics import Estimate, wilson_interval
from memeguard.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evaluation.metrics import Scores

_MAX_POINTS: Final = 300  # of a curve; more would fill report.json and the card


@dataclass(frozen=True, kw_only=True)
class ThresholdCurve:
    """Thresholds in rising order, and what each flags: the memes with a probability below it.

    Attributes:
        memes: Which memes these are: "out-of-fold" or "validation".
        num: Number of memes.
        num_offensive: Number of offensive memes.
        thresholds: P thresholds on the probability of being non-offensive, each half-way between two memes.
        num_flagged: Number of memes that each threshold flags.
        num_hits: Number of offensive memes among them.
    """

    memes: str
    num: int
    num_offensive: int
    thresholds: tuple[float, ...]
    num_flagged: tuple[int, ...]
    num_hits: tuple[int, ...]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read the result of ``dataclasses.asdict`` back from JSON; raise ``BundleError`` if it is damaged."""
        try:
            members: dict[str, Any] = {
                name: tuple(one) if isinstance(one, list) else one for name, one in values.items()
            }
            curve = cls(**members)
            columns = np.array([curve.thresholds, curve.num_flagged, curve.num_hits], dtype=np.float64)
            sound = bool((np.diff(columns) >= 0).all() and (columns >= 0).all() and (columns[0] <= 1).all())
        except (TypeError, ValueError) as error:
            raise BundleError(f"the threshold curve in report.json is damaged: {error}") from error
        if not sound or not len(curve.thresholds):
            raise BundleError("the threshold curve in report.json is damaged: its numbers do not rise")
        return curve


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold, and what it does to some memes; the intervals are Wilson's, at 95 %.

    Attributes:
        threshold: From this probability of being non-offensive on, the answer is "non-offensive".
        num: Number of memes.
        num_flagged: Number of memes that are flagged: answered with "offensive".
        precision: Share of the flagged memes that are offensive; None if none is flagged.
        recall: Share of the offensive memes that are flagged; None if there is none.
        flag_rate: Share of the memes that are flagged.
    """

    threshold: float
    num: int
    num_flagged: int
    precision: Estimate
    recall: Estimate
    flag_rate: Estimate


def trace_thresholds(labels: NDArray[np.int64], probabilities: NDArray[np.float64], memes: str) -> ThresholdCurve:
    """Trace what thresholds flag; of many memes, ``_MAX_POINTS`` thresholds, closest where few memes are flagged.

    Args:
        labels: [N], 1 = offensive.
        probabilities: [N] of being non-offensive.
        memes: See ``ThresholdCurve``.
    """
    order = np.argsort(probabilities, kind="stable")
    ascending, hits = probabilities[order], np.cumsum(labels[order] == 1)
    last = np.flatnonzero(np.append(np.diff(ascending) > 0, ascending[-1] < 1.0))  # of each group of equal memes
    if len(last) > _MAX_POINTS:
        wanted = len(labels) * np.linspace(0.0, 1.0, _MAX_POINTS) ** 2
        last = last[np.unique(np.searchsorted(last[:-1] + 1, wanted))]
    below, above = ascending[last], np.append(ascending, 1.0)[last + 1]
    middle = (below + above) / 2
    thresholds = np.where(middle > below, middle, above)  # neighbouring floats have none between them
    return ThresholdCurve(
        memes=memes,
        num=len(labels),
        num_offensive=int(labels.sum()),
        thresholds=tuple(thresholds.tolist()),
        num_flagged=tuple((last + 1).tolist()),
        num_hits=tuple(hits[last].tolist()),
    )


def point_on_curve(curve: ThresholdCurve, index: int) -> OperatingPoint:
    """The figures of the curve's threshold at ``index``."""
    return _make_point(
        curve.thresholds[index], curve.num_flagged[index], curve.num_hits[index], curve.num, curve.num_offensive
    )


def measure_threshold(threshold: float, scores: Scores) -> OperatingPoint:
    """The figures of ``threshold`` on these memes; the threshold of ``scores`` has no part in them."""
    flagged, offensive = scores.probabilities < threshold, scores.labels == 1
    num_hits = int((flagged & offensive).sum())
    return _make_point(threshold, int(flagged.sum()), num_hits, len(flagged), int(offensive.sum()))


def estimate_share(num: int, total: int) -> Estimate:
    """``num / total`` with Wilson's interval; None if ``total`` is 0."""
    if not total:
        return Estimate(value=None, low=None, high=None)
    low, high = wilson_interval(num, total)
    return Estimate(value=num / total, low=low, high=high)


def _make_point(threshold: float, num_flagged: int, num_hits: int, num: int, num_offensive: int) -> OperatingPoint:
    return OperatingPoint(
        threshold=threshold,
        num=num,
        num_flagged=num_flagged,
        precision=estimate_share(num_hits, num_flagged),
        recall=estimate_share(num_hits, num_offensive),
        flag_rate=estimate_share(num_flagged, num),
    )

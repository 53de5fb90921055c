"""Operating points: a threshold that reaches what was asked, intervals that hold, and refusals where memes are few."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation.metrics import Scores
from evaluation.operating_points import OperatingPointError, Target, find_misses, parse_target, resolve, resolve_all
from evaluation.threshold_curve import ThresholdCurve, measure_threshold, trace_thresholds
from memeguard.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evaluation.statistics import Estimate
    from evaluation.threshold_curve import OperatingPoint

Drawn = tuple["NDArray[np.int64]", "NDArray[np.float64]"]


def draw(num: int, seed: int = 0, distance: float = 1.3) -> Drawn:
    """Labels, a third of them offensive, and probabilities of being harmless that tell them apart somewhat."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(num) < 0.35).astype(np.int64)
    return labels, 1 / (1 + np.exp(rng.normal(distance * labels, 1.0, num) - 0.8))


def figure_of(target: Target, point: OperatingPoint) -> Estimate:
    figure: Estimate = getattr(point, target.figure.replace("-", "_"))
    return figure


@pytest.mark.parametrize("text", ["precision=0.7", "recall=0.8", "flag-rate=0.02", "flag-rate=0.5", "recall=0.10"])
def test_the_threshold_reaches_what_was_asked_on_the_memes_themselves(text: str) -> None:
    labels, probabilities = draw(2000)
    target = parse_target(text)
    point = resolve(target, trace_thresholds(labels, probabilities, "validation"))
    scores = Scores(labels=labels, probabilities=probabilities, threshold=0.5)
    assert measure_threshold(point.threshold, scores) == point
    reached = figure_of(target, point)
    assert reached.low <= reached.value <= reached.high
    assert reached.value <= target.value if target.figure == "flag-rate" else reached.value >= target.value
    assert reached.value == pytest.approx(target.value, abs=0.02)


def test_of_all_thresholds_the_most_useful_is_chosen() -> None:
    """On all thresholds of 200 memes: the most flagged at a precision, the fewest at a recall, the most at a rate."""
    labels, probabilities = draw(200)
    curve = trace_thresholds(labels, probabilities, "validation")
    scores = Scores(labels=labels, probabilities=probabilities, threshold=0.5)
    points = [measure_threshold(threshold, scores) for threshold in [*np.nextafter(probabilities, 1.0), 1.0]]
    precision = max(point.num_flagged for point in points if (point.precision.value or 0) >= 0.6)
    assert resolve(parse_target("precision=0.6"), curve).num_flagged == precision
    recall = min(point.num_flagged for point in points if point.recall.value >= 0.75)
    assert resolve(parse_target("recall=0.75"), curve).num_flagged == recall
    assert resolve(parse_target("flag-rate=0.1"), curve).num_flagged == 20


@pytest.mark.parametrize("text", ["precision=0.7", "recall=0.8", "flag-rate=0.1"])
@pytest.mark.parametrize("num", [400, 2000])
def test_intervals_hold_on_other_memes(text: str, num: int) -> None:
    """Although the threshold was chosen on the same memes: of 95 % intervals, nine in ten at least."""
    target = parse_target(text)
    others = draw(200_000, seed=1000)
    truth = Scores(labels=others[0], probabilities=others[1], threshold=0.5)
    held = []
    for seed in range(200):
        point = resolve(target, trace_thresholds(*draw(num, seed), "validation"))
        interval, true = figure_of(target, point), figure_of(target, measure_threshold(point.threshold, truth))
        held.append(interval.low <= true.value <= interval.high)
    assert np.mean(held) >= 0.9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "accuracy=0.9",
            "operating point 'accuracy=0.9' does not begin with one of precision, recall, flag-rate and =",
        ),
        ("precision", "operating point 'precision': '' is not a number between 0 and 1"),
        ("precision=high", "'high' is not a number between 0 and 1, such as 0.9"),
        ("recall=1", "'1' is not a number between 0 and 1"),
        ("recall=0", "'0' is not a number between 0 and 1"),
        ("flag-rate=nan", "'nan' is not a number between 0 and 1"),
        ("flag-rate=2%", "'2%' is not a number between 0 and 1"),
    ],
)
def test_what_is_no_operating_point_is_refused(text: str, message: str) -> None:
    with pytest.raises(OperatingPointError, match=message):
        parse_target(text)


@pytest.mark.parametrize(("text", "num_needed"), [("precision=0.9", 100), ("recall=0.8", 50), ("flag-rate=0.02", 500)])
def test_ten_memes_are_needed_on_either_side(text: str, num_needed: int) -> None:
    assert parse_target(text).num_needed == num_needed


def test_a_refusal_names_what_is_there_and_how_much_would_be_needed() -> None:
    labels = np.array([1] * 60 + [0] * 117)
    perfect = trace_thresholds(labels, np.linspace(0.1, 0.9, 177), "validation")
    points, refused = resolve_all([Target("precision", 0.9), Target("recall", 0.8), Target("flag-rate", 0.02)], perfect)
    assert list(points) == ["recall=0.8"]
    assert refused == {
        "precision=0.9": "operating point precision=0.9 needs at least 100 flagged memes to be measured; the best "
        "precision of so many is 0.600 (0.502 to 0.691), with 100 flagged. Only 66 flagged memes or fewer reach 0.9, "
        "at 0.909 (0.816 to 0.958): too few to tell; at least 269 memes like these 177 would be needed",
        "flag-rate=0.02": "operating point flag-rate=0.02 needs at least 500 memes to be measured; there are 177 "
        "validation memes, and 500 memes like these would be needed",
    }


def test_a_target_out_of_reach_is_not_a_matter_of_more_memes() -> None:
    """Of the most suspicious memes, one is offensive, by chance as it seems, and the next hundred are harmless."""
    labels = np.array([1] + [0] * 100 + [1, 0] * 149 + [0])
    curve = trace_thresholds(labels, np.linspace(0.1, 0.9, 400), "out-of-fold")
    with pytest.raises(OperatingPointError, match=r"0\.377 \(.*\), with \d+ flagged\. No threshold that flags 10"):
        resolve(parse_target("precision=0.9"), curve)


def test_too_few_offensive_memes_for_a_recall_are_counted() -> None:
    curve = trace_thresholds(np.array([1] * 6 + [0] * 10), np.linspace(0.1, 0.9, 16), "validation")
    message = "needs at least 50 offensive memes to be measured; there are 6 of the 16 validation memes, and 134 memes"
    with pytest.raises(OperatingPointError, match=message):
        resolve(parse_target("recall=0.8"), curve)


def test_memes_of_one_probability_cannot_be_told_apart() -> None:
    curve = trace_thresholds(np.arange(1000) % 2, np.full(1000, 0.5), "validation")
    with pytest.raises(OperatingPointError, match="cannot be reached: 1000 memes have the same probability"):
        resolve(parse_target("flag-rate=0.1"), curve)
    certain = trace_thresholds(np.arange(1000) % 2, np.ones(1000), "validation")
    with pytest.raises(OperatingPointError, match="cannot be reached: all 1000 probabilities are 1"):
        resolve(parse_target("recall=0.8"), certain)


def test_neighbouring_probabilities_are_told_apart() -> None:
    low = 0.3
    high = math.nextafter(low, 1.0)
    labels, probabilities = np.array([1, 0]), np.array([low, high])
    curve = trace_thresholds(labels, probabilities, "validation")
    for threshold, num in zip(curve.thresholds, curve.num_flagged, strict=True):
        assert (probabilities < threshold).sum() == num


@pytest.mark.parametrize("num", [5, 300, 20_000])
def test_a_curve_is_short_and_true_and_survives_json(num: int) -> None:
    labels, probabilities = draw(num)
    curve = trace_thresholds(labels, probabilities, "validation")
    assert len(curve.thresholds) <= 300
    assert (curve.num_flagged[-1], curve.num_hits[-1]) == (num, labels.sum())
    for threshold, flagged, hits in zip(curve.thresholds, curve.num_flagged, curve.num_hits, strict=True):
        below = probabilities < threshold
        assert (below.sum(), labels[below].sum()) == (flagged, hits)
    assert ThresholdCurve.from_dict(json.loads(json.dumps(dataclasses.asdict(curve)))) == curve


@pytest.mark.parametrize(
    "change", [{"num_hits": [2, 1]}, {"thresholds": ["a"]}, {"num": None, "other": 1}, {"thresholds": [0.1, 2.0]}]
)
def test_a_damaged_curve_is_refused(change: dict[str, object]) -> None:
    curve = trace_thresholds(np.array([1, 0]), np.array([0.3, 0.6]), "validation")
    values = {**json.loads(json.dumps(dataclasses.asdict(curve))), **change}
    with pytest.raises(BundleError, match=r"the threshold curve in report\.json is damaged"):
        ThresholdCurve.from_dict(values)


def test_other_memes_that_contradict_a_point_are_told() -> None:
    target = parse_target("precision=0.7")
    point = resolve(target, trace_thresholds(*draw(3000), "out-of-fold"))
    near, far = (
        measure_threshold(point.threshold, Scores(labels=labels, probabilities=probabilities, threshold=0.5))
        for labels, probabilities in (draw(500, seed=5), draw(500, seed=5, distance=0.2))
    )
    assert not find_misses([target], {target.name: near}, "out-of-fold", "validation")
    (warning,) = find_misses([target], {target.name: far}, "out-of-fold", "validation")
    assert warning.startswith(
        "Operating point precision=0.7 was chosen on out-of-fold memes; on the validation memes its"
    )

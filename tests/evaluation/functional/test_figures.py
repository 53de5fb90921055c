"""Figures by functionality and group are those that one counts by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation.functional.cases import Case, Suite
from evaluation.functional.figures import NUM_MISTAKES, compute_setting, find_worst
from evaluation.functional.findings import find_warnings
from evaluation.metrics import Scores
from evaluation.statistics import wilson_interval
from memes.meme import Label

if TYPE_CHECKING:
    from evaluation.functional.result import SettingFigures

# Functionality, group, label, and how many of how many are flagged.
ROWS = (
    ("attack", "women", Label.OFFENSIVE, 6, 8),
    ("attack", "Hindus", Label.OFFENSIVE, 2, 8),
    ("praise", "women", Label.NON_OFFENSIVE, 0, 10),
    ("praise", "Hindus", Label.NON_OFFENSIVE, 7, 10),
    ("weather", "", Label.NON_OFFENSIVE, 1, 4),
)
CASES = tuple(
    Case(functionality=name, text=f"{name} {number}", label=label, group=group, picture=None, where="")
    for name, group, label, _, num in ROWS
    for number in range(num)
)
SUITE = Suite(name="few", sha256="", cases=CASES, read_picture=str.encode, about={"praise": "says something kind"})
FLAGGED = np.array([number < hits for *_, hits, num in ROWS for number in range(num)])


def scores_of(flagged: np.ndarray) -> Scores:
    """Probability 0.2 of being non-offensive if flagged, 0.8 if not."""
    labels = np.array([int(case.label) for case in CASES])
    return Scores(labels=labels, probabilities=np.where(flagged, 0.2, 0.8), threshold=0.5)


@pytest.fixture(scope="module")
def figures() -> SettingFigures:
    return compute_setting(SUITE, scores_of(FLAGGED), scores_of(~FLAGGED), num_resamples=20)


def test_accuracy_by_functionality(figures: SettingFigures) -> None:
    found = {one.name: (one.label, one.num, one.accuracy.value) for one in figures.functionalities}
    assert found == {
        "attack": ("offensive", 16, 8 / 16),
        "praise": ("non-offensive", 20, 13 / 20),
        "weather": ("non-offensive", 4, 3 / 4),
    }
    assert figures.mean_accuracy == pytest.approx((8 / 16 + 13 / 20 + 3 / 4) / 3)
    assert find_worst(figures.functionalities).name == "attack"
    assert figures.functionalities[1].about == "says something kind"


def test_a_functionality_with_both_labels_is_told_twice() -> None:
    cases = [Case(functionality="swap", text="", label=label, group="", picture=None, where="") for label in Label]
    suite = Suite(name="few", sha256="", cases=cases, read_picture=str.encode)
    scores = Scores(labels=np.array([0, 1]), probabilities=np.array([0.9, 0.8]), threshold=0.5)
    both = compute_setting(suite, scores, num_resamples=5).functionalities
    assert [(one.name, one.label, one.accuracy.value) for one in both] == [
        ("swap", "offensive", 0.0),
        ("swap", "non-offensive", 1.0),
    ]


def test_intervals_are_wilsons(figures: SettingFigures) -> None:
    attack = figures.functionalities[0].accuracy
    assert (attack.low, attack.high) == wilson_interval(8, 16)


def test_rates_and_gaps_by_group(figures: SettingFigures) -> None:
    hindus, women = figures.groups
    assert (hindus.name, hindus.num_harmless, hindus.num_offensive) == ("Hindus", 10, 8)
    assert hindus.false_positive_rate.value == 0.7
    assert (hindus.false_positive_rate.low, hindus.false_positive_rate.high) == wilson_interval(7, 10)
    assert hindus.false_positive_gap == pytest.approx(0.7 - 7 / 20)
    assert women.recall.value == 6 / 8
    assert women.recall_gap == pytest.approx(6 / 8 - 8 / 16)
    assert women.auroc == pytest.approx(6 / 8 + 2 / 8 / 2)  # ties count half
    assert hindus.auroc == pytest.approx(0.5 + (2 / 8 - 7 / 10) / 2)


def test_gaps_between_groups(figures: SettingFigures) -> None:
    assert figures.false_positive_rate.value == 7 / 20
    gap = figures.false_positive_gap
    assert gap is not None
    assert (gap.highest, gap.lowest, gap.value) == ("Hindus", "women", 0.7)
    # 2 x 2 table 0, 10 / 7, 3: chi-squared = 20 (0 * 3 - 10 * 7)^2 / (10 * 10 * 7 * 13) = 10.77, one degree of freedom
    assert gap.p_value == pytest.approx(0.00103, abs=1e-5)


@pytest.mark.parametrize("flagged", [True, False])
def test_groups_that_are_treated_alike_have_no_gap(flagged: bool) -> None:  # noqa: FBT001
    gap = compute_setting(SUITE, scores_of(np.full(len(CASES), flagged)), num_resamples=5).false_positive_gap
    assert gap is not None
    assert (gap.value, gap.p_value) == (0.0, 1.0)
    assert gap.highest == gap.lowest


def test_a_suite_without_groups_has_no_rates() -> None:
    cases = [case for case in CASES if not case.group]
    suite = Suite(name="few", sha256="", cases=cases, read_picture=str.encode)
    scores = Scores(labels=np.zeros(4, np.int64), probabilities=np.full(4, 0.7), threshold=0.5)
    figures = compute_setting(suite, scores, num_resamples=5)
    assert figures.groups == ()
    assert (figures.false_positive_rate.value, figures.false_positive_gap) == (None, None)


def test_the_other_bundle_is_compared_over_all_and_by_functionality(figures: SettingFigures) -> None:
    """The other one answers the opposite, so that each is right alone on all that it is right about."""
    assert figures.mcnemar is not None
    right = int((scores_of(FLAGGED).labels == FLAGGED).sum())
    assert (figures.mcnemar.only_first_right, figures.mcnemar.only_second_right) == (right, len(CASES) - right)
    parts = [one.mcnemar for one in figures.functionalities]
    assert [(one.only_first_right, one.only_second_right) for one in parts if one] == [(8, 8), (13, 7), (3, 1)]


def test_mistakes_are_distinct_captions_of_wrong_answers(figures: SettingFigures) -> None:
    for one in figures.functionalities:
        assert len(set(one.mistakes)) == len(one.mistakes) <= NUM_MISTAKES
    assert figures.functionalities[2].mistakes == ("weather 0",)


def test_what_speaks_against_a_model_is_said(figures: SettingFigures) -> None:
    lines = find_warnings({"grey": figures}, ["cases.csv, row 2: ragged row"])
    assert any("recall for women is 0.500 above that for Hindus" in line for line in lines)
    assert any("Harmless mentions of Hindus are flagged more often" in line and "0.700" in line for line in lines)
    assert not any("women are flagged" in line for line in lines)
    assert lines[-1] == "1 faulty cases were left out; the first: cases.csv, row 2: ragged row."


def test_a_model_that_does_not_rank_is_warned_of() -> None:
    labels = scores_of(FLAGGED).labels
    first, second, *_ = find_warnings({"grey": compute_setting(SUITE, scores_of(labels == 0), num_resamples=20)}, [])
    assert "not shown to tell offensive cases from harmless ones: AUROC 0.000" in first
    assert "worse than a coin on 3 of 3 functionalities" in second


def test_a_model_that_is_right_is_not_warned_of() -> None:
    labels = scores_of(FLAGGED).labels
    assert find_warnings({"grey": compute_setting(SUITE, scores_of(labels == 1), num_resamples=20)}, []) == []

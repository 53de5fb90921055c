"""The result of a functional test; ``dataclasses.asdict`` makes JSON of it.

Offensive is the positive class. A figure that is not defined is None. Intervals of shares are Wilson's; they take cases
for independent, which those made from one template are not, so that the true intervals are somewhat wider.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evaluation.result import ModelFigures
    from evaluation.statistics import Estimate, McNemar

# Keys of ``FunctionalResult.settings``: which pictures the cases get that have none of their own.
GREY: Final = "grey"
BACKGROUNDS: Final = "backgrounds"
SETTING_WORDS: Final = {GREY: "grey pictures", BACKGROUNDS: "backgrounds"}


@dataclass(frozen=True, kw_only=True)
class FunctionalityFigures:
    """The cases of one functionality that have the same label.

    Attributes:
        name: Name of the functionality.
        about: What it is; empty if the suite does not say.
        label: "offensive" or "non-offensive".
        num: Number of cases.
        accuracy: Share of right answers, with Wilson's interval.
        mcnemar: The bundle's answers, first, against those of the other bundle; None without one.
        mistakes: Captions of the wrong answers with the highest probability, the highest first.
    """

    name: str
    about: str
    label: str
    num: int
    accuracy: Estimate
    mcnemar: McNemar | None
    mistakes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GroupFigures:
    """The cases that mention one group.

    Attributes:
        name: Name of the group.
        num_harmless: Number of harmless cases that mention it.
        false_positive_rate: Share of these that are flagged, with Wilson's interval.
        false_positive_gap: That share minus the one over the harmless mentions of all groups.
        num_offensive: Number of offensive cases that mention it.
        recall: Share of these that are flagged, with Wilson's interval.
        recall_gap: That share minus the one over the offensive mentions of all groups.
        auroc: Area under the ROC curve over both.
    """

    name: str
    num_harmless: int
    false_positive_rate: Estimate
    false_positive_gap: float | None
    num_offensive: int
    recall: Estimate
    recall_gap: float | None
    auroc: float | None


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far a rate differs between groups.

    Attributes:
        highest: Group with the highest rate; of equals, the first that is mentioned.
        lowest: Group with the lowest rate; that of ``highest`` if all rates are equal.
        value: Difference of the two rates.
        p_value: Of Pearson's chi-squared test that all groups have the same rate.
    """

    highest: str
    lowest: str
    value: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class SettingFigures:
    """The figures with one kind of picture for the cases that have none of their own.

    Attributes:
        model: Figures over all cases, as on a split.
        mean_accuracy: Mean of the functionalities' accuracies.
        functionalities: In the suite's order, those with both labels twice.
        groups: In the order of their names; empty if no case mentions a group.
        false_positive_rate: Share of the harmless mentions of any group that are flagged, with Wilson's interval.
        false_positive_gap: How far the groups' false-positive rates differ; None for fewer than two groups.
        recall: Share of the offensive mentions of any group that are flagged, with Wilson's interval.
        recall_gap: How far the groups' recalls differ; None for fewer than two groups.
        mcnemar: The bundle's answers, first, against those of the other bundle; None without one.
    """

    model: ModelFigures
    mean_accuracy: float
    functionalities: tuple[FunctionalityFigures, ...]
    groups: tuple[GroupFigures, ...]
    false_positive_rate: Estimate
    false_positive_gap: Gap | None
    recall: Estimate
    recall_gap: Gap | None
    mcnemar: McNemar | None


@dataclass(frozen=True, kw_only=True)
class FunctionalResult:
    """What a functional test of one bundle found.

    Attributes:
        bundle: Name of the bundle.
        bundle_sha256: SHA-256 of its config.json, which contains the hashes of the weights.
        backbone: Name of the backbone.
        suite: Name of the functional test.
        suite_sha256: SHA-256 of its file.
        num: Number of cases.
        num_offensive: Number of offensive cases.
        num_own_pictures: Number of cases that have a picture of their own.
        against: Name of the other bundle; None without one.
        against_sha256: SHA-256 of its config.json; None without one.
        num_resamples: Resamples of the bootstrap.
        created: Time in UTC, ISO 8601.
        memeguard_version: Version of this code.
        warnings: What speaks against the model; empty at best.
        settings: The figures by the pictures of cases without one: "grey", and "backgrounds" if there are any.
        skipped: A line for each faulty row that was left out.
    """

    bundle: str
    bundle_sha256: str
    backbone: str
    suite: str
    suite_sha256: str
    num: int
    num_offensive: int
    num_own_pictures: int
    against: str | None
    against_sha256: str | None
    num_resamples: int
    created: str
    memeguard_version: str
    warnings: tuple[str, ...]
    settings: Mapping[str, SettingFigures]
    skipped: tuple[str, ...] = ()

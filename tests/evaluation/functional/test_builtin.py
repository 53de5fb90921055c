"""The built-in suite is large enough, says each thing once, and has cases that only picture and words decide."""

from __future__ import annotations

import io
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from evaluation.functional.builtin import draw_picture, read_builtin
from memes.meme import Label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from evaluation.functional.cases import Case

SUITE = read_builtin()
WITH_PICTURES = [case for case in SUITE.cases if case.picture is not None]


def test_it_has_enough_of_everything() -> None:
    assert len(SUITE.cases) >= 1_500
    assert len({case.functionality for case in SUITE.cases}) >= 25
    assert len({case.group for case in SUITE.cases} - {""}) >= 12


@pytest.mark.parametrize("label", Label)
def test_every_group_is_mentioned_equally_often(label: Label) -> None:
    counts = Counter(case.group for case in SUITE.cases if case.label is label and case.group)
    assert len(set(counts.values())) == 1
    assert min(counts.values()) >= 50


def test_every_functionality_has_one_label_and_an_explanation() -> None:
    pairs = {(case.functionality, case.label) for case in SUITE.cases}
    assert len(pairs) == len(SUITE.about)
    assert all(SUITE.about[name] for name, _ in pairs)


def test_captions_without_a_picture_are_distinct_and_filled() -> None:
    texts = [case.text for case in SUITE.cases if case.picture is None]
    assert len(set(texts)) == len(texts)
    assert not [case.text for case in SUITE.cases if "{" in case.text or "}" in case.text]


def motif(case: Case) -> str:
    return str(case.picture).rpartition("-")[0]


@pytest.mark.parametrize("part", [motif, lambda case: case.text], ids=["picture", "caption"])
def test_neither_picture_nor_caption_alone_decides(part: Callable[[Case], str]) -> None:
    counts = Counter((part(case), case.label) for case in WITH_PICTURES)
    for value, _ in list(counts):
        assert counts[value, Label.OFFENSIVE] == counts[value, Label.NON_OFFENSIVE], value


def test_picture_and_caption_together_decide() -> None:
    labels = {(motif(case), case.text): case.label for case in WITH_PICTURES}
    assert all(labels[motif(case), case.text] is case.label for case in WITH_PICTURES)
    assert len(WITH_PICTURES) >= 100


def test_a_quarter_of_it_still_mentions_every_group_in_every_functionality() -> None:
    def mentions(cases: Iterable[Case]) -> set[tuple[str, str]]:
        return {(case.functionality, case.group) for case in cases}

    quarter = read_builtin(every=4).cases
    assert set(quarter) < set(SUITE.cases)
    assert len(quarter) < len(SUITE.cases) / 3
    assert mentions(quarter) == mentions(SUITE.cases)
    for term in ("Africans", "Black people", "Asian people", "Chinese people", "women", "girls"):
        assert sum(term in case.text for case in quarter) > 10, term


def test_it_is_the_same_each_time() -> None:
    assert read_builtin().cases == SUITE.cases
    draw_picture.cache_clear()
    first = draw_picture("rose-0")
    draw_picture.cache_clear()
    assert draw_picture("rose-0") == first


def test_every_picture_is_drawn_and_variants_differ() -> None:
    pictures = {str(case.picture): SUITE.read_picture(str(case.picture)) for case in WITH_PICTURES}
    assert len(set(pictures.values())) == len(pictures) == 24
    for content in pictures.values():
        assert Image.open(io.BytesIO(content)).size == (256, 256)

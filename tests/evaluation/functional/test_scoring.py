"""A case gets the probability that the predictor gives its picture and caption."""

from __future__ import annotations

import copy
import dataclasses
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from evaluation.functional.cases import Case, Suite
from evaluation.functional.pictures import MAX_BACKGROUNDS, find_backgrounds
from evaluation.functional.result import BACKGROUNDS, GREY
from evaluation.functional.scoring import score_suite
from memeguard.bundle import Bundle
from memeguard.torch_runtime import TorchPredictor
from memes.meme import DataError, Label

if TYPE_CHECKING:
    from pathlib import Path


def picture(colour: str) -> bytes:
    Image.new("RGB", (40, 30), colour).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def make_suite(*cases: tuple[str, str | None]) -> Suite:
    return Suite(
        name="few",
        sha256="",
        cases=[
            Case(functionality="x", text=text, label=Label(row % 2), group="", picture=own, where=f"row {row}")
            for row, (text, own) in enumerate(cases)
        ],
        read_picture=picture,
    )


@pytest.fixture(scope="module")
def predictor(small_bundle: Bundle) -> TorchPredictor:
    """A bundle that is calibrated."""
    classifier = copy.deepcopy(small_bundle.classifier)
    labels = dataclasses.replace(classifier.config.labels, temperature=0.25, shift=0.5)
    classifier.config = dataclasses.replace(classifier.config, labels=labels)
    return TorchPredictor(Bundle(classifier, small_bundle.tokenizer))


def probabilities(predictor: TorchPredictor, memes: list[tuple[bytes, str]]) -> list[float]:
    return [one.probability for one in predictor.predict([predictor.prepare(*meme) for meme in memes])]


def test_probabilities_are_the_predictors(predictor: TorchPredictor) -> None:
    suite = make_suite(
        ("a caption", "red"), ("you", None), ("many words " * 40, None), ("a caption", "blue"), ("", "red")
    )
    scores = score_suite(predictor, suite)
    assert list(scores) == [GREY]
    grey = picture("#808080")
    memes = [(picture(case.picture) if case.picture else grey, case.text) for case in suite.cases]
    assert scores[GREY].probabilities == pytest.approx(probabilities(predictor, memes), abs=1e-5)
    assert scores[GREY].labels.tolist() == [0, 1, 0, 1, 0]
    assert scores[GREY].threshold == 0.375


def test_backgrounds_take_turns_behind_cases_without_a_picture(predictor: TorchPredictor, tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.png").write_bytes(picture({"a": "yellow", "b": "green"}[name]))
    suite = make_suite(("one", None), ("two", None), ("three", "red"), ("four", None))
    scores = score_suite(predictor, suite, find_backgrounds(tmp_path))
    assert list(scores) == [GREY, BACKGROUNDS]
    memes = [
        (picture(colour), case.text)
        for colour, case in zip(("yellow", "green", "red", "green"), suite.cases, strict=True)
    ]
    assert scores[BACKGROUNDS].probabilities == pytest.approx(probabilities(predictor, memes), abs=1e-5)
    assert not np.allclose(scores[GREY].probabilities[[0, 1, 3]], scores[BACKGROUNDS].probabilities[[0, 1, 3]])


def test_a_caption_that_is_too_long_is_named(predictor: TorchPredictor) -> None:
    with pytest.raises(DataError, match="row 1: text has"):
        score_suite(predictor, make_suite(("fine", None), ("word " * 100_000, None)))


def test_a_damaged_picture_is_named(predictor: TorchPredictor, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(picture("red")[:50])
    with pytest.raises(DataError, match=r"broken\.png: unreadable picture"):
        score_suite(predictor, make_suite(("one", None)), find_backgrounds(tmp_path))


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures"):
        find_backgrounds(tmp_path)
    with pytest.raises(DataError, match="unreadable folder"):
        find_backgrounds(tmp_path / "missing")


def test_of_many_backgrounds_the_same_sample_is_drawn(tmp_path: Path) -> None:
    for number in range(MAX_BACKGROUNDS + 9):
        (tmp_path / f"{number:03}.png").touch()
    drawn = [one.where for one in find_backgrounds(tmp_path)]
    assert len(set(drawn)) == MAX_BACKGROUNDS
    assert drawn == [one.where for one in find_backgrounds(tmp_path)]

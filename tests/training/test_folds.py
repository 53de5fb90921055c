"""Near-duplicates stay in one fold, whatever makes them alike, and every fold has its share of both labels."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from memes.meme import Label, Meme
from training import folds as folds_module
from training.config import TrainingError
from training.folds import assign_folds, group_duplicates

if TYPE_CHECKING:
    from pathlib import Path

WORDS = "nine words that everybody knows are in this caption"


def draw(path: Path, seed: int) -> Path:
    """A picture like no other, of sharp patches."""
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((192, 192), Image.Resampling.NEAREST).save(path)
    return path


def meme(path: Path, text: str = "", label: int = 0) -> Meme:
    return Meme(image_path=path, text=text, label=Label(label), file="train.csv", row=2)


def captioned(tmp_path: Path, *captions: str) -> list[Meme]:
    """Each caption under a picture of its own."""
    return [meme(draw(tmp_path / f"{number}.png", number), text) for number, text in enumerate(captions)]


def partition(groups: np.ndarray) -> list[list[int]]:
    return sorted(np.flatnonzero(groups == number).tolist() for number in np.unique(groups))


def test_a_picture_that_was_saved_again_is_the_same(tmp_path: Path) -> None:
    original = draw(tmp_path / "a.png", 1)
    for quality in (95, 30):
        Image.open(original).save(tmp_path / f"{quality}.jpg", quality=quality)
    Image.open(original).resize((128, 128)).save(tmp_path / "small.png")
    names = ["a.png", "95.jpg", "30.jpg", "small.png"]
    other = draw(tmp_path / "b.png", 2)
    groups = group_duplicates([meme(tmp_path / name) for name in names] + [meme(other)])
    assert partition(groups) == [[0, 1, 2, 3], [4]]


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (WORDS.upper() + "!!!", True),
        (WORDS.replace("nine", "ten"), True),  # 8 of 10 words
        (WORDS + " and three more", True),  # 9 of 12
        (WORDS + " and then four more", False),  # 9 of 13
        ("in this caption are words that nobody knows", True),
        ("a caption of other words", False),
    ],
)
def test_captions_are_the_same_if_most_of_their_words_are(tmp_path: Path, other: str, *, alike: bool) -> None:
    one, two = set(WORDS.split()), set(other.lower().strip("!").split())
    assert alike == (len(one & two) / len(one | two) >= 0.7)
    assert partition(group_duplicates(captioned(tmp_path, WORDS, other))) == ([[0, 1]] if alike else [[0], [1]])


def test_empty_captions_have_nothing_in_common(tmp_path: Path) -> None:
    groups = group_duplicates(captioned(tmp_path, "", "", " ", "?!", WORDS))
    assert len(np.unique(groups)) == 5


def test_short_captions_have_to_be_the_same(tmp_path: Path) -> None:
    captions = ["very funny", "Very FUNNY!", "very", "funny", "funny very", "very very", "very"]
    assert partition(group_duplicates(captioned(tmp_path, *captions))) == [[0, 1], [2, 6], [3], [4], [5]]


def test_chains_of_pictures_and_captions_are_one_group(tmp_path: Path) -> None:
    """The first and the last have nothing in common but what lies between them."""
    first, second, third = (draw(tmp_path / f"{number}.png", number) for number in range(3))
    Image.open(second).save(tmp_path / "again.jpg", quality=60)
    memes = [
        meme(third, "the last one of all"),
        meme(first, WORDS),
        meme(second, f"{WORDS} again"),
        meme(draw(tmp_path / "alone.png", 9), "like no other meme"),
        meme(tmp_path / "again.jpg", "something else entirely here"),
        meme(third, "something else entirely there here"),
    ]
    assert partition(group_duplicates(memes)) == [[0, 1, 2, 4, 5], [3]]


def test_similar_captions_far_apart_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More captions than are compared at once, a hundred here."""
    monkeypatch.setattr(folds_module, "_PAIRS_AT_ONCE", 1300 * 100)
    paths = [draw(tmp_path / f"{number}.png", number) for number in range(40)]
    rng = random.Random(0)
    texts = [" ".join(f"w{rng.randrange(10_000)}" for _ in range(8)) for _ in range(1300)]
    texts[1299] = f"{texts[3]} more"
    texts[600] = f"{texts[599]} more"
    memes = [meme(paths[row % 40], text) for row, text in enumerate(texts)]
    groups = group_duplicates(memes)
    assert len(np.unique(groups)) == 40 - 2  # every fortieth meme has the same picture, two pairs of captions are alike
    assert groups[3] == groups[1299]
    assert groups[599] == groups[600]


@pytest.fixture
def labelled() -> tuple[np.ndarray, np.ndarray]:
    """Labels and groups of 300 memes in groups of one to four; a third is offensive."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), rng.integers(1, 5, 200))[:300]
    return (rng.random(300) < 1 / 3).astype(np.int64), groups


@pytest.mark.parametrize("num_folds", [2, 5, 9])
def test_folds_hold_whole_groups_and_their_share_of_both_labels(
    labelled: tuple[np.ndarray, np.ndarray], num_folds: int
) -> None:
    labels, groups = labelled
    folds = assign_folds(labels, groups, num_folds, seed=0)
    assert sorted(np.unique(folds)) == list(range(num_folds))
    assert all(len(np.unique(folds[groups == group])) == 1 for group in np.unique(groups))
    for label in (0, 1):
        counts = np.bincount(folds[labels == label], minlength=num_folds)
        assert counts.max() - counts.min() <= 4


def test_folds_depend_on_the_seed_alone(labelled: tuple[np.ndarray, np.ndarray]) -> None:
    first, again, other = (assign_folds(*labelled, 5, seed=seed) for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assign_folds(*labelled, 5, seed=2**63 - 1)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 1, 1, 1, 0, 0, 0], "only 2 offensive memes"),
        ([0, 0, 0, 0, 1, 1, 1], "only 2 non-offensive memes"),
    ],
)
def test_too_few_groups_are_told(labels: list[int], message: str) -> None:
    groups = np.array([0, 0, 0, 1, 2, 3, 4])
    with pytest.raises(TrainingError, match=f"num_folds is 3, but split train has {message} that are not near-dupl"):
        assign_folds(np.array(labels), groups, 3, seed=0)
    assert len(assign_folds(np.array(labels), groups, 2, seed=0)) == 7


@pytest.mark.parametrize("seed", range(30))
def test_every_fold_has_both_labels(seed: int) -> None:
    """The AUROC of a fold needs both. With few groups scikit-learn alone leaves folds without one of them."""
    rng = np.random.default_rng(seed)
    groups, labels = rng.integers(0, 12, 24), rng.integers(0, 2, 24)
    num_folds = min(len(np.unique(groups[labels == label])) for label in (0, 1))
    folds = assign_folds(labels, groups, num_folds, seed=seed)
    assert [len(np.unique(labels[folds == fold])) for fold in range(num_folds)] == [2] * num_folds
    assert all(len(np.unique(folds[groups == group])) == 1 for group in groups)


def test_pictures_are_hashed_once(tmp_path: Path) -> None:
    """The second time their bytes are looked up; nothing could decode these any more."""
    pictures = [draw(tmp_path / f"{number}.png", number % 3) for number in range(5)]
    memes = [meme(path) for path in pictures]
    expected = group_duplicates(memes, tmp_path / "cache")
    assert np.array_equal(group_duplicates(memes), expected)
    assert partition(expected) == [[0, 3], [1, 4], [2]]
    decoded: list[Path] = []

    def decode(path: Path) -> bytes:
        decoded.append(path)
        raise AssertionError(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.folds.hash_picture", decode)
        assert np.array_equal(group_duplicates(memes, tmp_path / "cache"), expected)
        draw(pictures[2], 77)
        with pytest.raises(AssertionError):
            group_duplicates(memes, tmp_path / "cache")
    assert decoded == [pictures[2]]

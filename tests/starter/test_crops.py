"""Crops are parts of the picture, never mirrored, in colours of their own, and the same for the same seed."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from PIL import Image

from starter.crops import draw_crop

SIZE = (120, 90)


@pytest.fixture(scope="module")
def gradient() -> Image.Image:
    """Red grows to the right, green downwards."""
    rows, columns = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    pixels = np.stack([60 + columns, 60 + rows, np.full_like(rows, 100)], axis=-1).astype(np.uint8)
    return Image.fromarray(pixels)


def test_the_same_seed_draws_the_same_crop(gradient: Image.Image) -> None:
    first, again, other = (draw_crop(gradient, random.Random(seed)).tobytes() for seed in (0, 0, 1))
    assert first == again != other


def test_crops_are_a_fifth_of_the_picture_to_all_of_it(gradient: Image.Image) -> None:
    areas, ratios = [], []
    for seed in range(300):
        crop = draw_crop(gradient, random.Random(seed))
        assert crop.width <= SIZE[0]
        assert crop.height <= SIZE[1]
        areas.append(crop.width * crop.height / math.prod(SIZE))
        ratios.append(crop.width / crop.height / (SIZE[0] / SIZE[1]))
    assert 0.18 < min(areas) < 0.25
    assert max(areas) > 0.9
    assert min(ratios) < 0.75
    assert max(ratios) > 1.1


def test_crops_come_from_everywhere(gradient: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red tells the column, green the row."""
    monkeypatch.setattr("starter.crops._COLOURS", 0.0)
    corners = [draw_crop(gradient, random.Random(seed)).getpixel((0, 0)) for seed in range(300)]
    red, green, blue = np.array(corners).T
    assert (red.min(), green.min(), set(blue)) == (60, 60, {100})
    assert red.max() > 60 + 0.4 * SIZE[0]
    assert green.max() > 60 + 0.4 * SIZE[1]


def test_nothing_is_mirrored_or_turned(gradient: Image.Image) -> None:
    for seed in range(100):
        pixels = np.asarray(draw_crop(gradient, random.Random(seed)), dtype=np.float32)
        assert pixels[:, -1, 0].mean() > pixels[:, 0, 0].mean()
        assert pixels[-1, :, 1].mean() > pixels[0, :, 1].mean()


def test_colours_change(gradient: Image.Image) -> None:
    means = [np.asarray(draw_crop(gradient, random.Random(seed)))[..., 2].mean() for seed in range(100)]
    assert min(means) < 80
    assert max(means) > 120


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_a_picture_of_any_shape_has_crops(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size)
    for seed in range(50):
        crop = draw_crop(picture, random.Random(seed))
        assert 1 <= crop.width <= size[0]
        assert 1 <= crop.height <= size[1]


def test_the_picture_stays_as_it_was(gradient: Image.Image) -> None:
    before = gradient.tobytes()
    draw_crop(gradient, random.Random(0))
    assert gradient.tobytes() == before

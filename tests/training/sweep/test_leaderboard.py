"""The leaderboard of a sweep: its order, its figures, its table and its picture."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image

from training.sweep.leaderboard import Entry, Failure, Leaderboard, format_leaderboard, label_columns, rank
from training.sweep.plot import MAX_ROWS, draw_leaderboard
from training.sweep.search_space import DEFAULT_SPACE


def entry(optimizer: str, *aurocs: float) -> Entry:
    return Entry(configuration={"optimizer": optimizer, "batch_size": 16}, aurocs=dict(enumerate(aurocs)))


def board(*entries: Entry, failures: tuple[Failure, ...] = ()) -> Leaderboard:
    return Leaderboard(
        entries=rank(entries),
        failures=failures,
        settings={"num_epochs": 3},
        backbone="clip",
        data_sha256="abc",
        num_memes={"train": 400, "validation": 150},
        tfidf_auroc=0.61,
    )


def test_the_mean_over_seeds_decides_and_not_the_best_seed() -> None:
    lucky, steady = entry("lucky", 0.9, 0.5, 0.5), entry("steady", 0.7, 0.7, 0.7)
    assert rank([lucky, steady]) == [steady, lucky]


def test_of_equal_means_the_smaller_deviation_comes_first() -> None:
    loose, tight = entry("loose", 0.5, 0.75), entry("tight", 0.625, 0.625)
    assert rank([loose, tight]) == [tight, loose]
    assert rank([tight, dataclasses.replace(tight)]) == [tight, tight]


def test_the_deviation_is_the_sample_deviation() -> None:
    assert entry("adam", 0.6, 0.7, 0.8).std == pytest.approx(0.1)
    assert entry("adam", 0.6, 0.8).std == pytest.approx(0.2 / 2**0.5)
    assert entry("adam", 0.6).std is None


@pytest.mark.parametrize(
    ("aurocs", "seed"),
    [((0.7,), 0), ((0.8, 0.6, 0.7), 2), ((0.8, 0.6), 1), ((0.9, 0.8, 0.7, 0.6), 2), ((0.7, 0.7, 0.7), 1)],
)
def test_the_median_seed_is_the_one_in_the_middle(aurocs: tuple[float, ...], seed: int) -> None:
    assert entry("adam", *aurocs).median_seed == seed


def test_the_table_shows_varying_settings_and_failures() -> None:
    failed = Failure(configuration={"optimizer": "sgd", "batch_size": 16}, reason="seed 0: the loss is nan in epoch 1")
    lines = format_leaderboard(
        board(entry("adam", 0.6, 0.7), entry("adamw", 0.7, 0.8), failures=(failed,))
    ).splitlines()
    assert lines[:4] == [
        "   optimizer  AUROC",
        "1  adamw      0.750 ± 0.071",
        "2  adam       0.650 ± 0.071",
        "TF-IDF, which sees no picture: 0.610",
    ]
    assert lines[4] == "failed: sgd: seed 0: the loss is nan in epoch 1"
    assert "best of 2" in lines[5]
    assert "optimistic" in lines[5]


def test_the_table_ends_at_its_limit() -> None:
    text = format_leaderboard(board(*(entry(f"o{number}", number / 20) for number in range(12))), limit=10)
    assert "10  o2         0.100\n    and 2 more\n" in text
    assert "o1 " not in text


def test_learning_rates_are_written_as_usual() -> None:
    values = [1e-3, 3.14159e-5, 0.02, 1.0, 0.0]
    columns = label_columns([{"learning_rate": value} for value in values])
    assert columns == {"lr": ["1e-3", "3.14e-5", "0.02", "1", "0"]}


def test_a_single_configuration_shows_all_settings() -> None:
    assert label_columns([{"optimizer": "sgd", "batch_size": 8}]) == {"optimizer": ["sgd"], "batch": ["8"]}


def test_json_holds_every_configuration_in_order_and_the_caveat() -> None:
    content = json.loads(json.dumps(board(entry("adam", 0.6, 0.7), entry("sgd", 0.9)).to_json(), allow_nan=False))
    assert [(one["rank"], one["configuration"]["optimizer"]) for one in content["configurations"]] == [
        (1, "sgd"),
        (2, "adam"),
    ]
    assert content["configurations"][0]["std"] is None
    assert content["configurations"][1]["aurocs"] == {"0": 0.6, "1": 0.7}
    assert "best of 2" in content["caveat"]


def many(num: int) -> Leaderboard:
    generator = np.random.default_rng(0)
    configurations = [{**one, "weight_decay": decay} for decay in (0.0, 0.1) for one in DEFAULT_SPACE.configurations()]
    entries = [
        Entry(configuration=one, aurocs=dict(enumerate(generator.normal(0.7, 0.02, 3).tolist())))
        for one in configurations[:num]
    ]
    return board(*entries)


@pytest.mark.parametrize("num", [1, 2, 27, 54])
def test_the_picture_grows_with_its_rows_up_to_a_limit(num: int) -> None:
    with Image.open(io.BytesIO(draw_leaderboard(many(num)))) as picture:
        picture.load()
        width, height = picture.size
    assert 600 < width < 1600
    assert height == pytest.approx(144 * (1.7 + 0.235 * min(max(num, 3), MAX_ROWS)), abs=2)


def test_the_picture_depends_on_the_ranking_alone() -> None:
    assert draw_leaderboard(many(5)) == draw_leaderboard(many(5)) != draw_leaderboard(many(6))

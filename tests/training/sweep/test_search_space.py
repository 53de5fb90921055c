"""Search spaces: what a file may contain, and one clear line for what it may not."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from training.config import TrainingConfig
from training.sweep.search_space import (
    DEFAULT_SPACE,
    MAX_CONFIGURATIONS,
    Range,
    SearchSpace,
    SearchSpaceError,
    check_space,
)
from training.sweep.space_file import read_space, swept_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., SearchSpace]:
    def read(content: str, **settings: Any) -> SearchSpace:
        path = tmp_path / "space.toml"
        path.write_text(content, encoding="utf-8")
        return read_space(path, settings)

    return read


def test_the_default_has_three_axes_and_three_seeds() -> None:
    configurations = list(DEFAULT_SPACE.configurations())
    assert len(configurations) == DEFAULT_SPACE.num_configurations == 27
    assert len({json.dumps(one) for one in configurations}) == 27
    assert DEFAULT_SPACE.seeds == (0, 1, 2)
    check_space(DEFAULT_SPACE, {})


def test_lists_span_a_grid(read: Callable[..., SearchSpace]) -> None:
    space = read('seeds = [7]\noptimizer = ["sgd", "adam"]\nlearning_rate = [1, 0.5]')
    assert space.is_grid
    assert space.seeds == (7,)
    assert list(space.configurations()) == [
        {"optimizer": "sgd", "learning_rate": 1.0},
        {"optimizer": "sgd", "learning_rate": 0.5},
        {"optimizer": "adam", "learning_rate": 1.0},
        {"optimizer": "adam", "learning_rate": 0.5},
    ]


def test_a_table_is_a_range(read: Callable[..., SearchSpace]) -> None:
    space = read(
        "learning_rate = {low = 1e-5, high = 1e-2, log = true}\nbatch_size = {low = 16, high = 64, step = 16}\n"
        "weight_decay = {low = 0, high = 0.3, step = 0.1}"
    )
    assert not space.is_grid
    assert space.seeds == (0, 1, 2)
    assert space.axes == {
        "learning_rate": Range(low=1e-5, high=1e-2, log=True),
        "batch_size": Range(low=16, high=64, step=16),
        "weight_decay": Range(low=0.0, high=0.3, step=0.1),
    }
    assert isinstance(space.axes["weight_decay"], Range)
    assert isinstance(space.axes["weight_decay"].low, float)


def test_every_setting_of_learning_may_be_swept(read: Callable[..., SearchSpace]) -> None:
    defaults = dataclasses.asdict(TrainingConfig())
    for name in swept_names():
        value = defaults[name]
        if value is None:
            value = {"tune": "lora", "backbone_learning_rate": 1e-5, "num_folds": 3}[name]
        space = read(f"{name} = [{json.dumps(value)}]")
        assert [type(one) for one in next(space.configurations()).values()] == [type(value)]
    assert set(swept_names()) == set(defaults) - {"augment", "device", "seed", "storage"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("learning_rate = ", "is not TOML"),
        ("", "names no setting; allowed are tune, optimizer"),
        ("seeds = [0]", "names no setting"),
        ("lr = [0.1]", "lr is not a setting; allowed are tune, optimizer, learning_rate"),
        ("seed = [0]", r"seed cannot be swept; list seeds as `seeds = \[0, 1, 2\]`"),
        ('device = ["cpu"]', "device cannot be swept; it is an option of the command"),
        ("batch_size = []", "batch_size is an empty list"),
        ("batch_size = 16", "batch_size is 16; it must be a list of values or a table"),
        ("batch_size = [16, 16]", "batch_size lists 16 twice"),
        ("batch_size = [16.0]", r"batch_size has 16\.0; it must be a whole number"),
        ("batch_size = [true]", "batch_size has True; it must be a whole number"),
        ('batch_size = ["16"]', "batch_size has '16'; it must be a whole number"),
        ("batch_size = [0]", "batch_size is 0; it must be at least 1"),
        ("optimizer = [1]", "optimizer has 1; it must be text"),
        ('optimizer = ["adagrad"]', "optimizer 'adagrad' is none of adamw, adam, sgd"),
        ('learning_rate = ["fast"]', "learning_rate has 'fast'; it must be a number"),
        ("learning_rate = [nan]", "learning_rate is nan"),
        ("batch_size = [8]\naccumulation_steps = [16]", "accumulation_steps is 16; it must be at most batch_size, 8"),
        ("optimizer = {low = 1, high = 2}", "optimizer is a table; it has no numbers"),
        ("learning_rate = {low = 0.1}", "learning_rate lacks high"),
        ("learning_rate = {low = 0.1, high = 1, base = 2}", "learning_rate has 'base'; allowed are low, high, log"),
        ("learning_rate = {low = 1, high = 0.1}", r"learning_rate\.low is 1\.0; it must be below high, which is 0\.1"),
        ("learning_rate = {low = 0, high = 1, log = true}", r"learning_rate\.low is 0\.0; it must be above 0"),
        ("learning_rate = {low = 0.1, high = inf}", r"learning_rate\.high is inf; it must be a finite number"),
        ("learning_rate = {low = 0.1, high = 1, log = 1}", r"learning_rate\.log is 1; it must be true or false"),
        (
            "weight_decay = {low = 0.1, high = 1, log = true, step = 0.1}",
            r"weight_decay\.step is 0\.1; it must be left",
        ),
        ("batch_size = {low = 8, high = 32, step = 5}", r"batch_size\.step is 5; it must divide 8 to 32"),
        ("batch_size = {low = 8, high = 32, step = 0}", r"batch_size\.step is 0; it must divide 8 to 32"),
        ("batch_size = {low = 0, high = 32}", "batch_size is 0; it must be at least 1"),
        ("batch_size = {low = 1, high = 3.5}", r"batch_size\.high has 3\.5; it must be a whole number"),
        ("seeds = []\nbatch_size = [1]", r"seeds is \[\]; it must be a list of whole numbers"),
        ("seeds = 3\nbatch_size = [1]", "seeds is 3; it must be a list of whole numbers"),
        ("seeds = [0, 0]\nbatch_size = [1]", "seeds lists 0 twice"),
        ("seeds = [0.5]\nbatch_size = [1]", r"seeds has 0\.5; it must be a whole number"),
        ("seeds = [-1]\nbatch_size = [1]", "seeds: seed is -1; it must be at least 0"),
        (
            f"batch_size = {list(range(1, 102))}\nhidden_dim = {list(range(1, 101))}",
            f"the lists span 10100 configurations; the limit is {MAX_CONFIGURATIONS}",
        ),
    ],
)
def test_an_invalid_space_is_refused_in_one_line(read: Callable[..., SearchSpace], content: str, message: str) -> None:
    with pytest.raises(SearchSpaceError, match=rf"space\.toml.* {message}"):
        read(content)


def test_a_setting_is_either_swept_or_fixed(read: Callable[..., SearchSpace]) -> None:
    with pytest.raises(SearchSpaceError, match="num_epochs is set to 3 for the whole sweep already; set it once"):
        read("num_epochs = [1, 2]", num_epochs=3)


def test_fixed_settings_count_when_configurations_are_checked(read: Callable[..., SearchSpace]) -> None:
    read("accumulation_steps = [16]", batch_size=16)
    with pytest.raises(SearchSpaceError, match="accumulation_steps is 16; it must be at most batch_size, 8"):
        read("accumulation_steps = [16]", batch_size=8)


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_bytes(b'optimizer = ["\xff"]')
    with pytest.raises(SearchSpaceError, match=r"space\.toml is not TOML"):
        read_space(path)

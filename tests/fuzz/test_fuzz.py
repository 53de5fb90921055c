"""The short form of ``make fuzz``: every kept case again, some fresh inputs, and a test of each oracle."""

from __future__ import annotations

import itertools
import random
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.fuzz.engine import fuzz
from tests.fuzz.mutations import mutate_picture
from tests.fuzz.oracles import Judge, Target
from tests.fuzz.shrinking import shrink
from tests.fuzz.targets import NAMES, load_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CORPUS: Final = Path(__file__).parent / "corpus"
_KEPT: Final = sorted(path for path in _CORPUS.glob("*/*") if path.parent.name in NAMES)
_FRESH: Final = {  # executions that take about a second each
    "pictures": 400,
    "forms": 2_000,
    "boundaries": 10_000,
    "texts": 30_000,
    "data": 2_000,
    "bundles": 30,
    "archives": 150,
    "cards": 800,
}


@pytest.fixture(scope="module")
def targets() -> Iterator[Callable[[str], Target]]:
    """Each target once, as it is asked for."""
    loaded: dict[str, Target] = {}

    def load(name: str) -> Target:
        if name not in loaded:
            loaded[name] = load_target(name)
        return loaded[name]

    yield load
    for target in loaded.values():
        target.clean_up()


@pytest.mark.parametrize("path", _KEPT, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_kept_case_keeps_every_promise(targets: Callable[[str], Target], path: Path) -> None:
    assert Judge(targets(path.parent.name)).look(path.read_bytes()) is None


@pytest.mark.parametrize("name", NAMES)
def test_valid_inputs_are_answered(targets: Callable[[str], Target], name: str) -> None:
    judge = Judge(targets(name))
    findings = [judge.look(data) for data in targets(name).seeds()]
    assert set(findings) == {None}
    assert judge.num_accepted


@pytest.mark.parametrize("name", NAMES)
def test_fresh_inputs_break_no_promise(tmp_path: Path, name: str) -> None:
    result = fuzz(name, tmp_path, num_executions=_FRESH[name], seconds=60.0, seed=1)
    assert result.findings == {}
    assert result.num_executions >= _FRESH[name]
    assert result.num_answered


def _target(run: Callable[[bytes], object]) -> Target:
    return Target(run=run, accepted=(ValueError,), seeds=lambda: [b"x"])


def _refuse(_: bytes) -> None:
    raise ValueError("documented")


def _stumble(_: bytes) -> None:
    raise KeyError("undocumented")


def _spin(_: bytes) -> None:
    begin = time.thread_time()
    while time.thread_time() - begin < 2.2:
        pass


def test_a_documented_refusal_is_no_finding() -> None:
    assert Judge(_target(_refuse)).look(b"x") is None


@pytest.mark.parametrize(
    ("run", "signature"),
    [
        (_stumble, "error-KeyError-test_fuzz._stumble"),
        (_spin, "cpu-answer"),
        (lambda _: len(b"\1" * (400 * 2**20)), "memory-answer"),
    ],
    ids=["undocumented error", "too much CPU", "too much memory"],
)
def test_a_broken_promise_is_found(run: Callable[[bytes], object], signature: str) -> None:
    finding = Judge(_target(run)).look(b"x")
    assert finding is not None
    assert finding.signature == signature


def test_memory_is_measured_for_each_input_anew() -> None:
    judge = Judge(_target(lambda data: len(b"\1" * (400 * 2**20)) if data else 0))
    assert [finding and finding.signature for finding in map(judge.look, (b"x", b"", b"x"))] == [
        "memory-answer",
        None,
        "memory-answer",
    ]


def test_an_outcome_that_changes_is_found() -> None:
    counter = itertools.count()
    judge = Judge(_target(lambda _: next(counter)))
    findings = [judge.look(b"x") for _ in range(16)]
    assert [finding.signature for finding in findings if finding] == ["unrepeatable"]


def test_shrinking_leaves_what_matters() -> None:
    assert shrink(b"a" * 500 + b"needle" + b"b" * 500, lambda data: b"needle" in data, seconds=10) == b"needle"


def test_a_mutated_png_keeps_valid_checksums(targets: Callable[[str], Target]) -> None:
    png = next(seed for seed in targets("pictures").seeds() if seed.startswith(b"\x89PNG"))
    changed = {mutate_picture(png, lambda piece: piece[::-1], random.Random(number)) for number in range(30)}
    assert len(changed) > 20
    for each in changed:
        start = 8
        while start < len(each):
            end = start + 8 + int.from_bytes(each[start : start + 4])
            assert each[end : end + 4] == zlib.crc32(each[start + 4 : end]).to_bytes(4)
            start = end + 4

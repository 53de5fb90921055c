"""Every part of a running server is killed, stopped or starved; ``make faults`` adds those that take long."""

from __future__ import annotations

import json
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.open_loop import PREDICT, TIMED_OUT, Answer
from tests.e2e.conftest import MEMEGUARD, REPOSITORY, serving
from tests.faults import (
    EXPIRY,
    FULL_DISK,
    LONG,
    SHORT,
    Fault,
    Observer,
    Victim,
    Watch,
    find_broken_promises,
    step_clock,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


@contextmanager
def _attacked(store: Path, run_dir: Path, *arguments: str) -> Iterator[Victim]:
    with tempfile.TemporaryDirectory(prefix="mg-") as tmp:
        command = [MEMEGUARD, "serve", f"--model-store={store}", *arguments]
        with serving(command, run_dir, Path(tmp)) as server:
            yield Victim(server=server, tmp=Path(tmp))


@pytest.fixture(scope="module")
def victim(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A server that most faults share: each must leave it as it was."""
    with _attacked(store, tmp_path_factory.mktemp("run")) as attacked:
        yield attacked


@pytest.fixture(scope="module")
def observer(victim: Victim) -> Observer:
    return Observer(victim)


def _by_name(fault: Fault) -> str:
    return fault.name


@pytest.mark.parametrize("fault", SHORT, ids=_by_name)
def test_a_fault_heals_and_nobody_is_told_a_lie(observer: Observer, fault: Fault) -> None:
    assert find_broken_promises(observer.observe(fault), fault, observer.verdicts) == []


@pytest.mark.every_fault
@pytest.mark.parametrize("fault", LONG, ids=_by_name)
def test_a_grave_fault_heals_and_nobody_is_told_a_lie(observer: Observer, fault: Fault) -> None:
    assert find_broken_promises(observer.observe(fault), fault, observer.verdicts) == []


@pytest.mark.every_fault
def test_tokens_that_expire(store: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.properties"
    text = (REPOSITORY / "config.properties").read_text("utf-8")
    assert "token_expiration_min=60" in text
    config.write_text(text.replace("token_expiration_min=60", "token_expiration_min=0.2"), "utf-8")
    with _attacked(store, tmp_path / "run", f"--config={config}") as victim:
        _stands(victim, EXPIRY)


@pytest.mark.every_fault
def test_a_full_disk(store: Path, tmp_path: Path) -> None:
    (run_dir := tmp_path / "run").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(run_dir)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted without the right to")
    try:
        with _attacked(store, run_dir) as victim:
            _stands(victim, FULL_DISK)
    finally:
        subprocess.run(["umount", "--lazy", str(run_dir)], check=True)


@pytest.mark.every_fault
@pytest.mark.parametrize("seconds", [-7200, 7200])
def test_a_clock_that_is_moved(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    if not _FAKETIME.is_file():
        pytest.skip("libfaketime is not installed (Debian's package faketime)")
    clock = tmp_path / "clock"
    clock.write_text("+0\n", "ascii")
    settings = {"FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    for name, value in {"LD_PRELOAD": str(_FAKETIME), **settings}.items():
        monkeypatch.setenv(name, value)
    with _attacked(store, tmp_path / "run") as victim:
        for name in ("LD_PRELOAD", *settings):
            monkeypatch.delenv(name)
        _stands(victim, Fault(name="the clock is moved", inject=step_clock(clock, seconds)))


def _stands(victim: Victim, fault: Fault) -> None:
    observer = Observer(victim)
    assert find_broken_promises(observer.observe(fault), fault, observer.verdicts) == []


class _Verdicts:
    def is_right(self, answer: Answer) -> bool:
        return bool(answer.body["right"])


def _answer(status: int, at_s: float = 0.0, **body: Any) -> Answer:
    return Answer(PREDICT, 0, at_s, 0.1, status, b"HTTP/1.1 x\r\n\r\n" + json.dumps(body).encode())


@pytest.mark.parametrize(
    ("watch", "words"),
    [
        (Watch(answers=[_answer(200, right=False)], healed_after_s=1.0), "wrong answer"),
        (Watch(answers=[_answer(500, code="internal_error")], healed_after_s=1.0), "no honest loss"),
        (Watch(answers=[_answer(503)], healed_after_s=1.0), "no honest loss"),
        (Watch(answers=[_answer(TIMED_OUT)], healed_after_s=1.0), "no honest loss"),
        (Watch(answers=[_answer(0)], healed_after_s=1.0), "no honest loss"),
        (Watch(), "not healed"),
        (Watch(answers=[_answer(503, code="x")], ready=[(1.0, True)], healed_after_s=1.0), "/readyz said yes"),
    ],
)
def test_a_broken_promise_is_seen(watch: Watch, words: str) -> None:
    fault = Fault(name="none", inject=lambda _: None)
    [broken] = find_broken_promises(watch, fault, _Verdicts())
    assert words in broken


def test_honest_losses_are_none() -> None:
    answers = [_answer(200, right=True), _answer(503, code="upstream_busy")]
    watch = Watch(answers=answers, ready=[(0.5, True), (20.0, False)], healed_after_s=1.0)
    assert find_broken_promises(watch, Fault(name="none", inject=lambda _: None), _Verdicts()) == []

"""The short form of ``make soak``: the same load for seconds; memory is judged over minutes, so loosely here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.soak.run import SoakSettings, find_problems, soak

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

_SHORT = SoakSettings(capacity_s=2.0, normal_s=7.0, overload_s=3.0, sample_every_s=0.5, max_drift=0.5, normal_load=0.5)


def test_a_loaded_server_answers_refuses_honestly_and_keeps_its_memory(server: Server) -> None:
    report = soak(server.process, server.ports["port"], _SHORT)
    assert report["problems"] == []
    assert report["phases"]["normal"]["answers"]["200"] > report["capacity_per_s"]


def _report(**normal: Any) -> dict[str, Any]:
    phase = {"answers": {"200": 9}, "wrong": 0, "refused_without_retry_after": 0, "memory_mb": {"java": [100.0, 104.0]}}
    return {"phases": {"normal": {**phase, **normal}, "overload": {**phase, "answers": {"200": 5, "503": 4}}}}


@pytest.mark.parametrize(
    ("normal", "problem"),
    [
        ({"answers": {"200": 8, "503": 1}}, "503"),
        ({"answers": {"200": 8, "timed out": 1}}, "timed out"),
        ({"wrong": 1}, "1 wrong"),
        ({"refused_without_retry_after": 2}, "2 refused_without_retry_after"),
        ({"memory_mb": {"java": [100.0, 106.0]}}, "memory of java went from 100.0 to 106.0 MB"),
        ({"memory_mb": {"java": [0.0, 0.0]}}, "no memory was seen of java"),
    ],
)
def test_a_broken_promise_is_named(normal: dict[str, Any], problem: str) -> None:
    assert find_problems(_report(), SoakSettings()) == []
    assert problem in "\n".join(find_problems(_report(**normal), SoakSettings()))

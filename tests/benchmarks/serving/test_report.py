"""The report: medians, ratios, the better batch size of each peer, what was left out, and a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.serving.asked import ceiling, compare, proxy_cost_s
from benchmarks.serving.clock import Clock
from benchmarks.serving.picture import draw_speeds
from benchmarks.serving.report import table, write_report
from benchmarks.serving.results import Results, describe_run

if TYPE_CHECKING:
    from pathlib import Path

_SETTINGS = {
    "model": "tiny",
    "data_folder": None,
    "seconds": 1.0,
    "repetitions": 3,
    "minutes": 30.0,
    "peers": ["original", "litserve"],
}


def cell(target: str, clients: int, repetition: int, speed: float, p50_s: float) -> dict[str, Any]:
    return {
        "target": target,
        "clients": clients,
        "repetition": repetition,
        "requests_per_s": speed,
        "p50_s": p50_s,
        "p95_s": 2 * p50_s,
        "p99_s": 3 * p50_s,
        "num_requests": 100,
        "num_measured": 90,
        "num_errors": 1,
        "first_error": "",
        "cpu_s_per_request": 0.02,
        "generator_cpu_s_per_request": 0.0002,
        "peak_bytes": 2_000_000_000,
        "peak_process_bytes": 1_000_000_000,
    }


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Three repetitions; the middle one is the median."""
    results = Results(tmp_path / "results.json", describe_run(_SETTINGS))
    speeds = {
        "memeguard": 80.0,
        "memeguard-direct": 90.0,
        "original": 10.0,
        "litserve-16": 35.0,
        "litserve-8": 40.0,
        "torchserve-16": 20.0,
        "torchserve-8": 10.0,
    }
    for repetition, factor in enumerate((1.0, 2.0, 0.5)):
        for name, speed in speeds.items():
            results.add("cells", **cell(name, 1, repetition, speed, 1 / speed))
            results.add("cells", **cell(name, 32, repetition, factor * speed, 32 / speed))
        for size, memes_per_s in ((1, 50.0), (8, 100.0)):
            results.add("ceiling", repetition=repetition, batch_size=size, memes_per_s=factor * memes_per_s)
    results.add("starts", target="memeguard", start_s=25.0)
    results.add("costs", what="repost", value=0, cache_entries=10, **cell("memeguard", 1, 0, 300.0, 0.003))
    results.add("costs", what="caption_words", value=5, **cell("memeguard", 1, 0, 30.0, 0.03))
    results.add("generator", clients=1, requests_per_s=20000.0, p50_s=4e-5, num_errors=0, cpu_s_per_request=3e-5)
    return results


def test_ratios_are_of_medians(results: Results) -> None:
    answers = {answer.asked: answer for answer in compare(results)}
    seen = {asked: (round(answer.seen, 3), answer.met) for asked, answer in answers.items()}
    speed = "requests/s, 32 clients, through the proxy"
    assert seen == {
        f"{speed}: times Flask and transformers": (8.0, True),
        "p50, one client: times Flask and transformers": (0.125, True),
        f"{speed}: times LitServe, batches of 8": (2.0, True),
        f"{speed}: times TorchServe, documentation's handler, batches of 16": (4.0, True),
        f"{speed}: share of the bare model's": (80.0, True),
        "p50 of a repost, one client": (3.0, True),
        "the proxy's own cost, p50": (1.389, True),
        "peak memory of a worker": (1.0, True),
        "start to ready": (25.0, False),
    }


def test_the_ceiling_is_the_best_batch_size(results: Results) -> None:
    assert ceiling(results) == 100.0
    assert proxy_cost_s(results) == pytest.approx(1 / 80 - 1 / 90)


def test_the_headline_names_the_better_batch_size_of_each_peer(results: Results) -> None:
    headline = write_report(results, "speeds.png").partition("### Headline")[2].partition("###")[0]
    assert "| memeguard, through the proxy | 80.0 | 80.0 · 160 · 40.0 | 1.00 |" in headline
    assert "| LitServe, batches of 8 | 40.0 | 40.0 · 80.0 · 20.0 | 2.00 |" in headline
    assert "| TorchServe, documentation's handler, batches of 16 | 20.0 | 20.0 · 40.0 · 10.0 | 4.00 |" in headline
    assert "LitServe, batches of 16" not in headline
    assert "| LitServe, batches of 16 | 32 | 35.0 |" in write_report(results, "speeds.png")


def test_the_report_holds_every_server_and_says_what_was_missed(results: Results) -> None:
    results.add("notes", text="ray could not be installed")
    results.add("left_out", what="workers 1")
    results.add("left_out", what="workers 2")
    report = write_report(results, "speeds.png")
    row = "| memeguard, through the proxy | 32 | 80.0 | 400 | 800 | 1200 | 3 | 300 | 0.0200 |"
    assert row in report
    assert "| start to ready | ≤ 20 s | 25.0 s | **no** |" in report
    assert "LitServe" in report
    assert "litserve==" in report
    assert "- ray could not be installed\n" in report
    assert "- Left out, because the run's 30 minutes were over: workers 1, workers 2.\n" in report
    assert "repost_cache 10" in report
    assert str(results.content["commit"]) in report


def test_what_was_not_measured_is_said_and_breaks_nothing(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json", describe_run(_SETTINGS))
    results.add("cells", **cell("original", 1, 0, 10.0, 0.1))
    assert all(math.isnan(answer.seen) and not answer.met for answer in compare(results))
    assert write_report(results, "speeds.png").count("not measured") == 7
    assert "### What a meme costs here" not in write_report(results, "speeds.png")
    assert draw_speeds(results).startswith(b"\x89PNG")


def test_the_picture_is_a_png(results: Results) -> None:
    assert draw_speeds(results).startswith(b"\x89PNG")


def test_a_run_goes_on_where_it_ended(results: Results, tmp_path: Path) -> None:
    again = Results(tmp_path / "results.json", describe_run(_SETTINGS), resume=True)
    assert again.content == results.content
    anew = Results(tmp_path / "results.json", describe_run(_SETTINGS))
    assert anew.rows("cells") == []


def test_what_does_not_fit_into_the_time_is_left_out_and_noted(results: Results) -> None:
    clock = Clock(1.0, results)
    assert clock.allows(30.0, "a cell")
    assert not clock.allows(90.0, "a long cell")
    assert results.rows("left_out") == [{"what": "a long cell"}]


def test_a_table_has_a_line_for_each_row() -> None:
    assert table(("a", "b"), [(1, 2.5)]) == "| a | b |\n| --- | --- |\n| 1 | 2.5 |\n"

"""Write what was measured as Markdown tables, with medians over the repetitions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from benchmarks.serving.asked import best_targets, ceiling, compare, median, most_clients, speed, targets_seen
from benchmarks.serving.targets import OURS, describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.serving.results import Results

_COSTS: Final = {
    "caption_words": ("Caption", "words"),
    "picture_side": ("Picture", "side in pixels"),
    "batch_size": ("Batch size", "batchSize"),
    "workers": ("Workers", "workers"),
}


def write_report(results: Results, picture: str) -> str:
    """Write the whole report; ``picture`` is the file name of the chart. What was not measured has no section."""
    sections = {
        "Headline": _headline(results, picture),
        "Asked and seen": _asked(results),
        "Side by side": _cells(results),
        "Memory and start": _memory(results),
        "The bare model": _ceiling(results),
        "What a meme costs here": _costs(results),
        "The load generator": _generator(results),
        "Not as planned": _notes(results),
    }
    return "\n".join([_header(results), *(f"### {title}\n\n{text}" for title, text in sections.items() if text)])


def _header(results: Results) -> str:
    content, settings = results.content, results.content["settings"]
    hardware = content["hardware"]
    num_repetitions = len({row["repetition"] for row in results.rows("cells")})
    amx = " with AMX" if hardware["amx"] else ""
    return (
        f"## Serving\n\n`{content['command']}`, commit {content['commit']}, {content['started']}, "
        f"{content.get('minutes', '?')} minutes; {hardware['processor']}, {hardware['cores']} cores{amx}, "
        f"{hardware['memory_gb']} GB, Python {content['python']}, load {hardware['load_average_at_start']:.1f} before. "
        f"Model {settings['model']} with random weights; memes: {settings['data_folder'] or 'drawn'}, none sent twice "
        f"in a cell, no cache. Medians of {num_repetitions} interleaved repetitions ({settings['repetitions']} were "
        f"planned) of {settings['seconds']:g} s each, the load generator on the same cores. memeguard computes with "
        f"OpenVINO, in int8 if nothing else is said; the peers compute with transformers' CLIPModel in fp32. "
        f"Peers: {', '.join(content['peers'].values())}.\n"
    )


def _headline(results: Results, picture: str) -> str:
    """Every server, and of each peer the better batch size, with the most clients."""
    rows = []
    for target in best_targets(results):
        cells = results.rows("cells", target=target, clients=most_clients(results))
        each = " · ".join(_number(cell["requests_per_s"]) for cell in cells)
        slower = speed(results, OURS) / (speed(results, target) or math.nan)
        rows.append((describe(target), _number(speed(results, target)), each, _number(slower)))
    head = (f"{most_clients(results)} clients", "requests/s", "each repetition", "memeguard is faster by")
    return (
        f"{table(head, rows)}\nEach peer was measured with every batch size in the same run; this is its better one. "
        f"The bare model: {_number(ceiling(results))} memes/s.\n\n![Requests per second]({picture})\n"
    )


def _asked(results: Results) -> str:
    rows = [
        (answer.asked, answer.target, f"{_number(answer.seen)} {answer.unit}", _verdict(answer.seen, met=answer.met))
        for answer in compare(results)
    ]
    return table(("asked", "target", "seen", ""), rows)


def _verdict(seen: float, *, met: bool) -> str:
    return "not measured" if math.isnan(seen) else "yes" if met else "**no**"


def _cells(results: Results) -> str:
    head = ("", "clients", "requests/s", "p50 ms", "p95 ms", "p99 ms", "errors", "requests", "CPU s/request")
    rows = []
    for name in targets_seen(results):
        for clients in sorted({row["clients"] for row in results.rows("cells", target=name)}):
            cells = results.rows("cells", target=name, clients=clients)
            speed, cpu = (
                median(results, member, target=name, clients=clients)
                for member in ("requests_per_s", "cpu_s_per_request")
            )
            latencies = [median(results, f"p{q}_s", target=name, clients=clients) for q in (50, 95, 99)]
            counts = [sum(cell[member] for cell in cells) for member in ("num_errors", "num_requests")]
            figures = (_number(speed), *(_number(1e3 * value) for value in latencies), *counts, f"{cpu:.4f}")
            rows.append((describe(name), clients, *figures))
    return table(head, rows)


def _memory(results: Results) -> str:
    rows = []
    for name in targets_seen(results):
        if name.endswith("-direct"):  # the same processes
            continue
        cells = results.rows("cells", target=name)
        peaks = [max(cell[member] for cell in cells) / 1e9 for member in ("peak_bytes", "peak_process_bytes")]
        start = median(results, "start_s", "starts", target=name)
        rows.append((describe(name), *(f"{peak:.2f}" for peak in peaks), _number(start)))
    head = ("", "peak, all processes, GB", "peak, largest process, GB", "start to first verdict, s")
    return table(head, rows) + "\nMemory is the proportional set size (PSS), sampled every 2 s under load.\n"


def _ceiling(results: Results) -> str:
    sizes = sorted({row["batch_size"] for row in results.rows("ceiling")})
    if not sizes:
        return ""
    rows = [(size, _number(median(results, "memes_per_s", "ceiling", batch_size=size))) for size in sizes]
    text = "`Predictor.logits` of the unpacked archive on memes that are decoded already, in a process of its own.\n"
    return (
        f"{table(('batch', 'memes/s'), rows)}\n{text}The best of them, {_number(ceiling(results))}, is the ceiling.\n"
    )


def _costs(results: Results) -> str:
    parts = []
    for what, (title, unit) in _COSTS.items():
        rows = [
            (
                row["value"],
                row["clients"],
                _number(row["requests_per_s"]),
                *(_number(1e3 * row[member]) for member in ("p50_s", "p95_s")),
                f"{row['cpu_s_per_request']:.4f}",
                f"{row['peak_bytes'] / 1e9:.2f}",
                row["num_errors"],
            )
            for row in results.rows("costs", what=what)
        ]
        head = (unit, "clients", "requests/s", "p50 ms", "p95 ms", "CPU s/request", "peak GB", "errors")
        if rows:
            parts.append(f"{title}:\n\n{table(head, rows)}")
    reposts = results.rows("costs", what="repost")
    if reposts:
        p50 = _number(1e3 * median(results, "p50_s", "costs", what="repost"))
        entries = reposts[0]["cache_entries"]
        cache = "the archive has no repost cache" if entries is None else f"repost_cache {entries}"
        parts.append(f"A repost, the same meme from one client again and again ({cache}): p50 {p50} ms.\n")
    return "\n".join(parts)


def _generator(results: Results) -> str:
    head = ("clients", "requests/s", "p50 ms", "its CPU s/request", "errors")
    rows = [
        (
            row["clients"],
            _number(row["requests_per_s"]),
            _number(1e3 * row["p50_s"]),
            f"{row['cpu_s_per_request']:.6f}",
            row["num_errors"],
        )
        for row in results.rows("generator")
    ]
    if not rows:
        return ""
    share = max(
        (row["generator_cpu_s_per_request"] * row["requests_per_s"] for row in results.rows("cells")), default=0
    )
    return (
        f"{table(head, rows)}\nAgainst a server that does nothing, the same requests. In the cells above it used at "
        f"most {100 * share:.1f} % of one core.\n"
    )


def _notes(results: Results) -> str:
    notes = [f"- {row['text']}\n" for row in results.rows("notes")]
    if left_out := [row["what"] for row in results.rows("left_out")]:
        minutes = results.content["settings"]["minutes"]
        notes.append(f"- Left out, because the run's {minutes:g} minutes were over: {', '.join(left_out)}.\n")
    return "".join(notes)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _number(value: float) -> str:
    """Format with about three significant digits; a dash for nan."""
    if not math.isfinite(value):
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2  # noqa: PLR2004
    return f"{value:.{digits}f}"

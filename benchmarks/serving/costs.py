"""What the cost of a meme depends on: caption, picture, batch size, workers, and whether the same meme came before.

Only this project's server is measured here, through its proxy, each setting once.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from benchmarks.serving.archives import copy_archive, read_settings
from benchmarks.serving.cells import measure_cell
from benchmarks.serving.load import Load
from benchmarks.serving.memes import SentMeme, make_caption, make_picture
from benchmarks.serving.servers import StartError, plan_memeguard, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.serving.servers import Target
    from benchmarks.serving.settings import CostSettings, Run

CACHE: Final = "repost_cache"
UNCACHED: Final = {f"memeguard.{CACHE}": 0}
_NUM_REPOSTS: Final = 3
_RESTART_S: Final = 45.0  # a start, a measurement and an end


def measure_content(run: Run, settings: CostSettings, target: Target) -> None:
    """Measure the latency for one client by caption length and by picture size."""
    memes = run.memes
    load = Load(clients=1, seconds=settings.seconds)
    trials = [
        ("caption_words", words, SentMeme(memes[0].image, make_caption(words))) for words in settings.caption_words
    ]
    trials += [("picture_side", side, SentMeme(make_picture(side), memes[0].text)) for side in settings.picture_sides]
    for what, value, meme in trials:
        if _is_wanted(run, what, value, 2 * settings.seconds):
            row = measure_cell(target, [meme], load, cell=f"{what} {value}")
            run.results.add("costs", what=what, value=value, bytes=len(meme.image), **row)


def measure_settings(run: Run, settings: CostSettings, archive: Path) -> None:
    """Measure the throughput for many clients by batch size and by number of workers; each starts a server."""
    trials: list[tuple[str, int, dict[str, Any]]] = [
        ("batch_size", size, {"batchSize": size}) for size in settings.batch_sizes
    ]
    trials += [("workers", number, {"minWorkers": number, "maxWorkers": number}) for number in settings.workers]
    load = Load(clients=settings.clients, seconds=settings.batch_seconds, warm_s=2.0)
    for what, value, changes in trials:
        if _is_wanted(run, what, value, _RESTART_S):
            with _serve(run, archive, {**UNCACHED, **changes}, f"{what}-{value}") as target:
                if target:
                    row = measure_cell(target, run.memes, load, cell=f"{what} {value}")
                    run.results.add("costs", what=what, value=value, **row)


def measure_reposts(run: Run, settings: CostSettings, archive: Path) -> None:
    """Measure the latency for one client that sends the same meme repeatedly; the archive's cache stays as it is."""
    if not _is_wanted(run, "repost", 0, _RESTART_S):
        return
    cache = read_settings(archive).get("memeguard", {}).get(CACHE)
    load = Load(clients=1, seconds=settings.seconds)
    with _serve(run, archive, {}, "reposts") as target:
        for number, meme in enumerate(run.memes[:_NUM_REPOSTS]):
            if not target:
                break
            row = measure_cell(target, [meme], load, cell=f"repost {number}", distinct=False)
            run.results.add("costs", what="repost", value=number, cache_entries=cache, **row)


def _is_wanted(run: Run, what: str, value: int, seconds: float) -> bool:
    return not run.results.rows("costs", what=what, value=value) and run.clock.allows(seconds, f"{what} {value}")


@contextlib.contextmanager
def _serve(run: Run, archive: Path, changes: Mapping[str, Any], name: str) -> Iterator[Target | None]:
    """Serve with other settings and yield the proxy as a target; None if the server does not start."""
    copy_archive(archive, run.scratch / name, changes)
    target: Target | None = None
    with contextlib.ExitStack() as stack:
        try:
            target = stack.enter_context(serving(plan_memeguard(run.scratch / name), run.logs, run.memes[0]))[0]
            run.results.add("starts", target="memeguard", start_s=target.start_s)
        except StartError as error:
            run.results.add("notes", text=f"{name}: {error}")
        yield target

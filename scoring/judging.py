"""Judge memes chunk by chunk: pictures are decoded in threads while the network is busy with those before.

Does not know where memes come from, nor where verdicts go.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from memeguard.errors import MemeError
from scoring.meme_source import read_picture
from scoring.verdict_row import VerdictRow, make_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memeguard.predictor import Predictor, PreparedMeme
    from scoring.meme_source import Item

_CHUNK_MEMES: Final = 1024  # at least
_NUM_AHEAD: Final = 2  # batches that are decoded, or being decoded, while one is judged


class _Chunk:
    """Memes that are judged together and told in their order."""

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        self.rows: list[VerdictRow | None] = [None] * len(items)

    def finish(self) -> list[VerdictRow] | None:
        """All rows, once all are there."""
        rows = [row for row in self.rows if row is not None]
        return rows if len(rows) == len(self.rows) else None


@dataclass(frozen=True)
class _Batch:
    """Places in a chunk, and what their memes will be once they are decoded."""

    chunk: _Chunk
    memes: dict[int, Future[PreparedMeme]]


def chunk_size(batch_size: int) -> int:
    """How many memes are judged between two points at which one can go on: whole batches."""
    return -(-_CHUNK_MEMES // batch_size) * batch_size


def judge(
    items: Iterator[Item], predictor: Predictor, *, batch_size: int, advance: Callable[[int], object]
) -> Iterator[list[VerdictRow]]:
    """Yield the verdicts of each chunk, in the order of its memes.

    What is in a batch depends on its chunk alone, so that whoever goes on at a chunk gets the same bits.

    Args:
        items: The memes; read in another thread.
        predictor: What judges them.
        batch_size: How many go through the network at once, at most.
        advance: Told how many memes more have been dealt with.
    """
    pool = ThreadPoolExecutor(max_workers=1 + min(4, len(os.sched_getaffinity(0))))  # one reads the list
    try:
        waiting: deque[_Batch] = deque()
        for batch in itertools.chain(_prepare(items, predictor, batch_size, pool), itertools.repeat(None)):
            if batch:
                waiting.append(batch)
                if len(waiting) <= _NUM_AHEAD:
                    continue
            elif not waiting:
                return
            judged = waiting.popleft()
            _judge_batch(judged, predictor)
            advance(len(judged.memes))
            if rows := judged.chunk.finish():
                yield rows
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(
    items: Iterator[Item], predictor: Predictor, batch_size: int, pool: ThreadPoolExecutor
) -> Iterator[_Batch]:
    """Start to decode each batch when it is asked for; captions of like length share one, so that few are padded."""

    def read_chunk() -> list[Item]:
        return list(itertools.islice(items, chunk_size(batch_size)))

    following = pool.submit(read_chunk)
    while read := following.result():
        following = pool.submit(read_chunk)
        chunk = _Chunk(read)
        places = sorted(range(len(read)), key=lambda place: len(read[place].text))
        for start in range(0, len(places), batch_size):
            batch = places[start : start + batch_size]
            yield _Batch(chunk, {place: pool.submit(_prepare_meme, read[place], predictor) for place in batch})


def _prepare_meme(item: Item, predictor: Predictor) -> PreparedMeme:
    if item.fault:
        raise item.fault
    return predictor.prepare(read_picture(item.path), item.text)


def _judge_batch(batch: _Batch, predictor: Predictor) -> None:
    items, rows = batch.chunk.items, batch.chunk.rows
    prepared: dict[int, PreparedMeme] = {}
    for place, meme in batch.memes.items():
        try:
            prepared[place] = meme.result()
        except MemeError as error:
            rows[place] = make_row(items[place].image, error)
    if prepared:
        verdicts = predictor.predict(list(prepared.values()))
        for place, verdict in zip(prepared, verdicts, strict=True):
            rows[place] = make_row(items[place].image, verdict)

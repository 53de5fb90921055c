"""Judge memes chunk by chunk: every thread decodes a batch and then judges it, while the others do the same.

Does not know where memes come from, nor where verdicts go.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from memeguard.errors import MemeError
from scoring.meme_source import read_picture
from scoring.verdict_row import VerdictRow, make_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from memeguard.predictor import Predictor, PreparedMeme
    from scoring.meme_source import Item

_CHUNK_MEMES: Final = 1024  # at least
_BATCHES_A_THREAD: Final = 2  # the one it is at, and the next


@dataclass
class _Chunk:
    """Memes that are told together, in their order."""

    items: list[Item]
    rows: dict[int, VerdictRow] = field(default_factory=dict)

    def ordered_rows(self) -> list[VerdictRow]:
        return [self.rows[place] for place in range(len(self.items))]


@dataclass(frozen=True)
class _Batch:
    """Places in a chunk."""

    chunk: _Chunk
    places: list[int]


def num_cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def chunk_size(batch_size: int) -> int:
    """How many memes are judged between two points at which one can go on: whole batches."""
    return -(-_CHUNK_MEMES // batch_size) * batch_size


def judge(
    items: Iterator[Item], predictor: Predictor, *, batch_size: int, advance: Callable[[int], object]
) -> Iterator[list[VerdictRow]]:
    """Yield the verdicts of each chunk, in the order of its memes.

    What is in a batch depends on its chunk alone, so that whoever goes on at a chunk gets the same bits.

    There are as many threads as cores and no more: with a network of as many streams that keeps every core busy, and
    each further thread, be it one that only decodes, takes a core from a batch that has begun (benchmarks/README.md).

    Args:
        items: The memes; read in another thread.
        predictor: What judges them.
        batch_size: How many go through the network at once, at most.
        advance: Told how many memes more have been dealt with.
    """
    num_threads = num_cores()
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(num_threads) as pool:
        batches = _read_batches(items, batch_size, reader)
        begun: deque[tuple[_Batch, Future[None]]] = deque()
        try:
            while True:
                for batch in itertools.islice(batches, _BATCHES_A_THREAD * num_threads - len(begun)):
                    begun.append((batch, pool.submit(_judge_batch, batch, predictor)))
                if not begun:
                    return
                batch, future = begun.popleft()
                future.result()
                advance(len(batch.places))
                if not begun or begun[0][0].chunk is not batch.chunk:
                    yield batch.chunk.ordered_rows()
        finally:
            pool.shutdown(cancel_futures=True)


def _read_batches(items: Iterator[Item], batch_size: int, reader: ThreadPoolExecutor) -> Iterator[_Batch]:
    """All batches of a chunk and then the next chunk's; captions of like length share one, so that few are padded."""

    def read_chunk() -> list[Item]:
        return list(itertools.islice(items, chunk_size(batch_size)))

    following = reader.submit(read_chunk)
    while read := following.result():
        following = reader.submit(read_chunk)
        chunk = _Chunk(read)
        places = sorted(range(len(read)), key=lambda place: len(read[place].text))
        for start in range(0, len(places), batch_size):
            yield _Batch(chunk, places[start : start + batch_size])


def _judge_batch(batch: _Batch, predictor: Predictor) -> None:
    items, rows = batch.chunk.items, batch.chunk.rows
    prepared: dict[int, PreparedMeme] = {}
    for place in batch.places:
        if fault := items[place].fault:  # not raised: it would hold on to the whole batch
            rows[place] = make_row(items[place].image, fault)
            continue
        try:
            prepared[place] = predictor.prepare(read_picture(items[place]), items[place].text)
        except MemeError as error:
            rows[place] = make_row(items[place].image, error)
    if prepared:
        verdicts = predictor.predict(list(prepared.values()))
        for place, verdict in zip(prepared, verdicts, strict=True):
            rows[place] = make_row(items[place].image, verdict)

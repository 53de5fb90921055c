"""Predict memes in chunks: each thread decodes a batch and then predicts it, while the others do the same."""

from __future__ import annotations

import itertools
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from memeguard.errors import MemeError
from memes.source import read_picture
from scoring.output_row import OutputRow, make_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from memeguard.predictor import Predictor, PreparedMeme
    from memes.source import SourceMeme

_MIN_CHUNK_MEMES: Final = 1024
_BATCHES_PER_THREAD: Final = 2  # the one it works on, and the next


@dataclass
class _Chunk:
    """Memes whose rows are written together, in their order."""

    memes: list[SourceMeme]
    rows: dict[int, OutputRow] = field(default_factory=dict)

    def ordered_rows(self) -> list[OutputRow]:
        return [self.rows[place] for place in range(len(self.memes))]


@dataclass(frozen=True)
class _Batch:
    """Places of memes in a chunk."""

    chunk: _Chunk
    places: list[int]


def num_cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))


def chunk_size(batch_size: int) -> int:
    """How many memes are predicted between two points at which a job can be resumed: whole batches."""
    return -(-_MIN_CHUNK_MEMES // batch_size) * batch_size


def predict_memes(
    memes: Iterator[SourceMeme], predictor: Predictor, *, batch_size: int, advance: Callable[[int], object]
) -> Iterator[list[OutputRow]]:
    """Yield the rows of each chunk, in the order of its memes.

    What is in a batch depends on its chunk alone, so that a job resumed at a chunk computes the same bits.

    There are as many threads as cores and no more: with a network of as many streams that keeps every core busy, and
    each further thread, even one that only decodes, takes a core from a batch in progress (benchmarks/README.md).

    Args:
        memes: The memes; read in another thread.
        predictor: The model.
        batch_size: How many memes go through the network at once, at most.
        advance: Called with the number of memes done since the last call.
    """
    num_threads = num_cores()
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(num_threads) as pool:
        batches = _read_batches(memes, batch_size, reader)
        running: deque[tuple[_Batch, Future[None]]] = deque()
        try:
            while True:
                for batch in itertools.islice(batches, _BATCHES_PER_THREAD * num_threads - len(running)):
                    running.append((batch, pool.submit(_predict_batch, batch, predictor)))
                if not running:
                    return
                batch, future = running.popleft()
                future.result()
                advance(len(batch.places))
                if not running or running[0][0].chunk is not batch.chunk:
                    yield batch.chunk.ordered_rows()
        finally:
            pool.shutdown(cancel_futures=True)


def _read_batches(memes: Iterator[SourceMeme], batch_size: int, reader: ThreadPoolExecutor) -> Iterator[_Batch]:
    """All batches of one chunk after the other; captions of similar length share a batch, so that few are padded."""

    def read_chunk() -> list[SourceMeme]:
        return list(itertools.islice(memes, chunk_size(batch_size)))

    following = reader.submit(read_chunk)
    while read := following.result():
        following = reader.submit(read_chunk)
        chunk = _Chunk(read)
        places = sorted(range(len(read)), key=lambda place: len(read[place].text))
        for start in range(0, len(places), batch_size):
            yield _Batch(chunk, places[start : start + batch_size])


def _predict_batch(batch: _Batch, predictor: Predictor) -> None:
    memes, rows = batch.chunk.memes, batch.chunk.rows
    prepared: dict[int, PreparedMeme] = {}
    for place in batch.places:
        if error := memes[place].error:  # not raised: its traceback would keep the whole batch
            rows[place] = make_row(memes[place].image, error)
            continue
        try:
            prepared[place] = predictor.prepare(read_picture(memes[place]), memes[place].text)
        except MemeError as error:
            rows[place] = make_row(memes[place].image, error)
    if prepared:
        verdicts = predictor.predict(list(prepared.values()))
        for place, verdict in zip(prepared, verdicts, strict=True):
            rows[place] = make_row(memes[place].image, verdict)

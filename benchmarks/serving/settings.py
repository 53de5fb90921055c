"""What a run measures and for how long; and a run: these settings, the memes, and where figures and files go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.serving.targets import PEERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.serving.clock import Clock
    from benchmarks.serving.memes import SentMeme
    from benchmarks.serving.results import Results


@dataclass(frozen=True, kw_only=True)
class CostSettings:
    """Which values are tried after the headline, and for how long."""

    caption_words: Sequence[int] = (0, 5, 15, 40, 100, 400)
    picture_sides: Sequence[int] = (300, 500, 1000, 2000, 4000)
    batch_sizes: Sequence[int] = (1, 4, 8, 16, 32)
    workers: Sequence[int] = (1, 2)
    clients: int = 32
    seconds: float = 4.0
    batch_seconds: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured.

    Attributes:
        model: ``vit-b-32``, or ``tiny`` where only the machinery is tried.
        peers: Names of ``targets.PEERS``.
        peer_batch_sizes: Each peer that makes batches is measured with each of them.
        clients: Numbers of clients of the headline, the main table.
        repetitions: How often each cell of it is measured.
        seconds: How long a cell is measured.
        ceiling_seconds: How long each batch size of the bare model is measured.
        minutes: Of the whole run, without installing the peers.
        data_folder: Labelled memes; drawn ones if None.
        costs: What is measured after the headline; nothing if None.
        restarts: Whether servers are started anew for batch size, workers and reposts.
    """

    model: str = "vit-b-32"
    peers: Sequence[str] = tuple(PEERS)
    peer_batch_sizes: Sequence[int] = (16, 8)
    clients: Sequence[int] = (1, 8, 32)
    repetitions: int = 3
    seconds: float = 5.0
    ceiling_seconds: float = 3.0
    minutes: float = 30.0
    data_folder: Path | None = None
    costs: CostSettings | None = field(default_factory=CostSettings)
    restarts: bool = True


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run.

    Attributes:
        settings: What it measures.
        memes: What is sent.
        results: Take every figure.
        clock: Says what there is still time for.
        scratch: Model, archives; removed in the end.
        logs: What the servers print.
    """

    settings: Settings
    memes: Sequence[SentMeme]
    results: Results
    clock: Clock
    scratch: Path
    logs: Path

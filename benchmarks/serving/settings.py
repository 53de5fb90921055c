"""What a run measures and how long; and a run: these settings, the memes, and where figures and files go.

Does not measure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.serving.servers import PEERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.serving.clock import Clock
    from benchmarks.serving.memes import SentMeme
    from benchmarks.serving.results import Results


@dataclass(frozen=True, kw_only=True)
class CostSettings:
    """Which values are tried, and how long each is measured."""

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
        peers: Names of ``servers.PEERS``.
        clients: Numbers of clients of the main table.
        repetitions: How often each cell of it is measured.
        seconds: How long each time.
        ceiling_seconds: How long each batch size of the bare model is measured.
        minutes: Of the whole run, but for installing the peers.
        data_folder: Labelled memes; drawn ones if None.
        own_venvs: Whether each peer runs in an environment of its own.
        costs: Settings of what follows.
        restarts: Whether servers are started anew for batch size, workers and reposts.
    """

    model: str = "vit-b-32"
    peers: Sequence[str] = tuple(PEERS)
    clients: Sequence[int] = (1, 8, 32)
    repetitions: int = 3
    seconds: float = 10.0
    ceiling_seconds: float = 3.0
    minutes: float = 30.0
    data_folder: Path | None = None
    own_venvs: bool = True
    costs: CostSettings = field(default_factory=CostSettings)
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

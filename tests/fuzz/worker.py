"""One target in a process of its own, under libFuzzer; the arguments are TARGET FOLDER EXECUTIONS SECONDS SEED.

A finding is written down and the run continues; a crash of the interpreter ends the process, and libFuzzer keeps the
input. The last line printed is a JSON object that counts what was done.
"""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import atheris

from tests.fuzz.oracles import Judge
from tests.fuzz.shrinking import shrink
from tests.fuzz.targets import load_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fuzz.oracles import Target

# Whose branches guide libFuzzer: ours, and the readers written in Python that ours stand on.
_INSTRUMENTED: Final = ["memeguard", "proxy", "training", "rollout", "werkzeug", "PIL", "zipfile", "csv"]

_MAX_ADDRESS_BYTES: Final = 12 * 2**30  # the machine's last fence: a bomb may not take the rest of it along
_HANG_S: Final = 60
_SHRINK_S: Final = 20.0
_FRESH: Final = (
    0.3  # share of mutations that start from a valid input; the corpus soon holds more refusals than answers
)


class _Run:
    """Looks at inputs until enough are done; keeps the smallest input of each finding."""

    def __init__(self, target: Target, folder: Path, num_executions: int, seconds: float) -> None:
        self._target, self._judge = target, Judge(target)
        self._folder, self._num_executions = folder, num_executions
        self._begin = time.monotonic()
        self._end = self._begin + seconds
        self._found: dict[str, str] = {}

    def look(self, data: bytes) -> None:
        if finding := self._judge.look(data):
            self._keep(data, finding.signature, finding.detail)
        if self._judge.num_executions >= self._num_executions or time.monotonic() > self._end:
            self._finish()

    def _keep(self, data: bytes, signature: str, detail: str) -> None:
        if signature in self._found:
            return
        self._found[signature] = detail
        (self._folder / "findings").mkdir(exist_ok=True)
        path = self._folder / "findings" / signature.replace("/", "_")
        path.write_bytes(data)

        def is_same(smaller: bytes) -> bool:
            again = self._judge.look(smaller)
            return again is not None and again.signature == signature

        path.write_bytes(shrink(data, is_same, seconds=min(_SHRINK_S, max(0.0, self._end - time.monotonic()))))

    def _finish(self) -> NoReturn:
        seconds = time.monotonic() - self._begin
        summary = {
            "executions": self._judge.num_executions,
            "answered": self._judge.num_accepted,
            "seconds": round(seconds, 1),
            "executions_per_s": round(self._judge.num_executions / seconds, 1),
            "findings": self._found,
        }
        self._target.clean_up()
        print(json.dumps(summary), flush=True)
        os._exit(0)  # libFuzzer has no other way to be told that it is enough


def _mutator(target: Target) -> Callable[[bytes, int, int], bytes]:
    assert target.mutate is not None
    change, seeds = target.mutate, target.seeds()

    def mutate(data: bytes, max_bytes: int, seed: int) -> bytes:
        def engine(piece: bytes) -> bytes:
            changed: bytes = atheris.Mutate(piece, max(1, max_bytes))
            return changed

        chance = random.Random(seed)
        if chance.random() < _FRESH:
            data = chance.choice(seeds)
        return change(data, engine, chance)[:max_bytes]

    return mutate


def main(name: str, folder: Path, num_executions: int, seconds: float, seed: int) -> None:
    """Fuzz one target; ``folder`` holds its corpus and its findings."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    # The soft limit alone: processes that decode pictures set limits of their own.
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_ADDRESS_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with atheris.instrument_imports(include=_INSTRUMENTED, enable_loader_override=False):
        target = load_target(name)
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(data)
    options = [f"-seed={seed}", f"-max_len={target.max_bytes}", f"-timeout={_HANG_S}", "-rss_limit_mb=0"]
    options += [
        "-detect_leaks=0",
        "-print_final_stats=0",
        "-verbosity=0",
        "-mutate_depth=2",
        f"-artifact_prefix={folder}/crash-",
    ]
    options += [str(corpus), str(Path(__file__).parent / "corpus" / name)]
    run = _Run(target, folder, num_executions, seconds)
    extra = {} if target.mutate is None else {"custom_mutator": _mutator(target)}
    atheris.Setup([sys.argv[0], *options], run.look, **extra)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))

"""Keep the rows of an unfinished job, so that a job that is killed at any moment can be resumed.

A hidden folder beside the output holds the description of the job (job.json), the rows (rows.csv) and a journal: a line
for each point up to which the rows are safely on disk. Whatever follows the last such point is cut off.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from filelock import lock_descriptor

from memes.atomic_file import write_whole_json
from scoring.errors import ScoringError
from scoring.output_row import HEADER

if TYPE_CHECKING:
    from pathlib import Path

JOB: Final = "job.json"
ROWS: Final = "rows.csv"
JOURNAL: Final = "journal.jsonl"


@dataclass(kw_only=True)
class Progress:
    """What is safely on disk.

    Attributes:
        num_memes: How many memes have a row.
        num_bytes: Size of ROWS.
        predictions: How many memes got each label.
        errors: How many memes could not be scored, by error code.
    """

    num_memes: int = 0
    num_bytes: int = 0
    predictions: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)


class PartialOutput:
    """The rows of an unfinished job, held by one process at a time.

    Args:
        folder: The folder of the rows; created if it does not exist.

    Raises:
        OSError: The folder cannot be created.
        ScoringError: Another process has locked it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.progress = Progress()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._rows = self._journal = -1
        if not lock_descriptor(self._lock, blocking=False):
            os.close(self._lock)
            raise ScoringError(f"{folder}: another process is scoring into it")

    def __enter__(self) -> PartialOutput:  # noqa: PYI034 - final in all but name
        return self

    def __exit__(self, *_: object) -> None:
        for fd in (self._rows, self._journal, self._lock):
            if fd >= 0:
                os.close(fd)

    @property
    def rows(self) -> Path:
        """The file of the rows."""
        return self.folder / ROWS

    def begin(self, job: dict[str, Any]) -> None:
        """Start or resume ``job``; raises ``ScoringError`` if the folder holds another job."""
        path = self.folder / JOB
        if path.exists():
            require_same_job(_read_json(path), job, f"{self.folder} holds an interrupted job")
        else:
            write_whole_json(path, job)
        self._rows = _open(self.rows)
        self._journal = _open(self.folder / JOURNAL)
        if not self._find_last():
            self.append(HEADER, Progress())

    def append(self, lines: str, progress: Progress) -> None:
        """Add rows; on return they and the counts of ``progress`` are safely on disk."""
        data = lines.encode()
        _write(self._rows, data)
        os.fsync(self._rows)
        progress.num_bytes = self.progress.num_bytes + len(data)
        _write(self._journal, json.dumps(vars(progress)).encode() + b"\n")
        os.fsync(self._journal)
        self.progress = progress

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.folder)

    def empty(self) -> None:
        """Drop the job and its rows."""
        for name in (JOURNAL, ROWS, JOB):  # JOB last: rows without it would be taken for those of the next job
            (self.folder / name).unlink(missing_ok=True)

    def _find_last(self) -> bool:
        """Cut off what follows the last entry of the journal; False if there is no entry."""
        size, safe = os.fstat(self._rows).st_size, 0
        for line in (self.folder / JOURNAL).read_bytes().splitlines(keepends=True):
            try:
                entry = Progress(**json.loads(line)) if line.endswith(b"\n") else None
            except (ValueError, TypeError):  # half a line, after the machine lost power
                entry = None
            if entry is None:
                break
            entry.predictions, entry.errors = Counter(entry.predictions), Counter(entry.errors)
            self.progress, safe = entry, safe + len(line)
        if size < self.progress.num_bytes:
            raise ScoringError(f"{self.rows} is damaged: it has {size} bytes, {JOURNAL} says "
                               f"{self.progress.num_bytes}; remove {self.folder} to start over")  # fmt: skip
        os.ftruncate(self._journal, safe)
        os.ftruncate(self._rows, self.progress.num_bytes)
        return safe > 0


def require_same_job(found: object, job: dict[str, Any], where: str) -> None:
    """Raise ``ScoringError`` naming the first thing that differs between the jobs."""
    there = found if isinstance(found, dict) else {}
    for name in {**job, **there}:
        if (before := there.get(name)) != (now := job.get(name)):
            raise ScoringError(f"{where} of another kind: {name} was {json.dumps(before)}, now it is "
                               f"{json.dumps(now)}; choose another --out, or remove it")  # fmt: skip


def sync_folder(folder: Path) -> None:
    """Make sure that the names in ``folder`` survive a loss of power."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)


def _write(fd: int, data: bytes) -> None:
    while data:  # a disk that is nearly full may take a part only
        data = data[os.write(fd, data) :]


def _read_json(path: Path) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ScoringError(f"{path} is damaged: {error}; remove it to start over") from error

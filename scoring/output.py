"""The output file of a job and the card beside it: start, resume, extend and finish them."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from memeguard.bundle_files import hash_file
from memes.atomic_file import write_whole_json
from scoring.errors import ScoringError
from scoring.output_row import format_row
from scoring.parquet_file import write_parquet
from scoring.partial_output import PartialOutput, Progress, require_same_job, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from scoring.output_row import OutputRow

FORMATS: Final = (".csv", ".parquet")
_MODEL_DIGITS: Final = 12  # of the bundle's hash, in each row


def check_output(out: Path) -> None:
    """Raise ``ScoringError`` if ``out`` cannot be an output file."""
    if out.suffix.lower() not in FORMATS:
        raise ScoringError(f"--out {out} must end in {' or '.join(FORMATS)}")
    if out.is_dir():
        raise ScoringError(f"--out {out} is a folder")


def read_finished(out: Path, job: dict[str, Any]) -> Progress | None:
    """What the card says of a finished output; None if there is no output yet.

    Raises:
        ScoringError: The output is not that of ``job``, or has changed since.
    """
    if not out.exists():
        return None
    refusal = f"{out} exists already and is never overwritten"
    try:
        card = json.loads(_card_path(out).read_text(encoding="utf-8"))
        require_same_job(card["job"], job, f"{refusal}; it is the result")
        sha256 = card["sha256"]
        progress = Progress(num_memes=job["memes"], predictions=card["predictions"], errors=card["errors"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScoringError(f"{refusal}; choose another --out") from error
    if hash_file(out) != sha256:
        raise ScoringError(f"{refusal}; it has changed since it was scored")
    if (leftover := _partial_folder(out)).exists():  # the job was killed between its last two steps
        with PartialOutput(leftover) as partial:
            partial.remove()
    return progress


@contextlib.contextmanager
def open_output(out: Path, job: dict[str, Any], *, resume: bool) -> Iterator[Output]:
    """Start a job or resume it; an output that got no rows is removed afterwards.

    Args:
        out: The output file, which does not exist yet.
        job: What the job is, see ``scoring.job``.
        resume: Whether to keep the rows of an interrupted job.

    Raises:
        ScoringError: The output belongs to another job or another process, or is finished meanwhile.
    """
    with PartialOutput(_partial_folder(out)) as partial:
        if not resume:
            partial.empty()
        for path in (out, _card_path(out)):
            if path.exists() and not partial.rows.exists():
                partial.remove()
                raise ScoringError(f"{path} exists already; nothing is overwritten")
        partial.begin(job)
        try:
            yield Output(out, job, partial)
        except BaseException:
            if not partial.progress.num_memes:
                partial.remove()
            raise


class Output:
    """The rows of a job that is not finished; see ``open_output``."""

    def __init__(self, out: Path, job: dict[str, Any], partial: PartialOutput) -> None:
        self._out, self._job, self._partial = out, job, partial

    @property
    def progress(self) -> Progress:
        """What is safely on disk."""
        return self._partial.progress

    def append(self, rows: Sequence[OutputRow]) -> None:
        """Add rows; on return they are safely on disk."""
        model, for_spreadsheets = self._job["model_sha256"][:_MODEL_DIGITS], self._job["format"] == "csv"
        lines = [format_row(row, model, for_spreadsheets=for_spreadsheets) for row in rows]
        before = self.progress
        counts = Progress(
            num_memes=before.num_memes + len(rows),
            predictions=before.predictions + Counter(row.prediction for row in rows if not row.error),
            errors=before.errors + Counter(row.error for row in rows if row.error),
        )
        self._partial.append("".join(lines), counts)

    def finish(self) -> None:
        """Write the card, and then move the complete output to its place: an output is never without a card."""
        whole = self._partial.rows
        if self._job["format"] == "parquet":
            whole = self._partial.folder / "rows.parquet"
            write_parquet(
                self._partial.rows, whole, {name: self._job[name] for name in ("model_sha256", "memeguard_version")}
            )
            with whole.open("rb") as file:
                os.fsync(file.fileno())
        counts = {
            "predictions": dict(sorted(self.progress.predictions.items())),
            "errors": dict(sorted(self.progress.errors.items())),
        }
        write_whole_json(_card_path(self._out), {"job": self._job, **counts, "sha256": hash_file(whole)})
        if self._out.exists():
            raise ScoringError(f"{self._out} exists already; nothing is overwritten")
        whole.rename(self._out)
        sync_folder(self._out.parent)
        self._partial.remove()


def _partial_folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")


def _card_path(out: Path) -> Path:
    return out.with_name(f"{out.name}.json")

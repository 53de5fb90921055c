"""One line of the output: a meme's prediction, or the error that it got instead."""

from __future__ import annotations

import csv
import io
import math
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from scoring.errors import NoPredictionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memeguard.errors import MemeError
    from memeguard.predictor import Verdict

COLUMNS: Final = ("image", "prediction", "probability", "logit", "model", "error", "detail")
HEADER: Final = ",".join(COLUMNS) + "\n"
_MAX_NAME_CHARS: Final = 4096  # of a path on Linux
_MAX_DETAIL_CHARS: Final = 500
# What a spreadsheet takes for the start of a formula (OWASP, "CSV Injection"); a file name may be anybody's text.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - their wide forms
# What separates cells where the comma is the decimal sign; the next cell may then start a formula.
_OTHER_SEPARATORS: Final = (";", "\t", "|")
_CELL_FORMULA: Final = re.compile(
    rf"(^|[{re.escape(''.join(_OTHER_SEPARATORS))},])(\s*)(?=[{re.escape(''.join(_FORMULA_STARTS))}])"
)
_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")


class OutputRow(NamedTuple):
    """The columns of a line, except the model's.

    Attributes:
        image: The picture's name, as the source has it.
        prediction: The predicted label's word; empty if there is an error.
        probability: Of being **non-offensive**, in [0, 1].
        logit: Of being offensive.
        error: Code of a ``MemeError``; empty if there is a prediction.
        detail: The error's message.
    """

    image: str
    prediction: str = ""
    probability: float | None = None
    logit: float | None = None
    error: str = ""
    detail: str = ""


def make_row(image: str, outcome: Verdict | MemeError) -> OutputRow:
    """The row of a meme with this prediction or error."""
    name = image.encode(errors="backslashreplace").decode()
    name = name if len(name) <= _MAX_NAME_CHARS else f"{name[:_MAX_NAME_CHARS]}…"
    if not isinstance(outcome, Exception):
        if math.isfinite(outcome.logit):
            return OutputRow(name, *outcome)
        outcome = NoPredictionError(f"logit is {outcome.logit}; the model cannot predict this meme")
    # Pillow's messages may contain line ends, and addresses, which differ from run to run.
    detail = " ".join(_ADDRESS.sub("", str(outcome)).split()).encode(errors="backslashreplace").decode()
    return OutputRow(name, error=outcome.code, detail=detail[:_MAX_DETAIL_CHARS])


def format_row(row: OutputRow, model: str, *, for_spreadsheets: bool) -> str:
    """A line of CSV, line feed included.

    Args:
        row: What to write.
        model: The start of the model's hash.
        for_spreadsheets: Put ``./`` before a name that would be a formula: it is the same file, but no formula. A name
            with another separator is quoted, so that a spreadsheet does not split it there. The detail gets an
            apostrophe before whatever would start a formula.
    """
    image, detail = row.image, row.detail
    if for_spreadsheets:
        image = f"./{image}" if image.startswith(_FORMULA_STARTS) else image
        detail = _CELL_FORMULA.sub(r"\1\2'", detail)
    others = [row.prediction, row.probability, row.logit, model, row.error, detail]
    if for_spreadsheets and any(separator in image for separator in _OTHER_SEPARATORS):
        quoted = image.replace('"', '""')
        return f'"{quoted}",{_to_csv(others)}\n'
    return f"{_to_csv([image, *others])}\n"


def _to_csv(fields: Sequence[object]) -> str:
    line = io.StringIO()
    # With this line end, csv also quotes a field that contains a carriage return alone.
    csv.writer(line, lineterminator="\r\n").writerow(fields)
    return line.getvalue().removesuffix("\r\n")

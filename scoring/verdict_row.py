"""One line of the output: a meme's verdict, or why there is none.

Does not know where the lines go.
"""

from __future__ import annotations

import csv
import io
import math
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from scoring.errors import NoVerdictError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memeguard.errors import MemeError
    from memeguard.predictor import Verdict

COLUMNS: Final = ("image", "prediction", "probability", "logit", "model", "error", "detail")
HEADER: Final = ",".join(COLUMNS) + "\n"
_MAX_NAME_CHARS: Final = 4096  # of a path on Linux
_MAX_DETAIL_CHARS: Final = 500
# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection"); a file name is a stranger's text.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - their wide forms
# What parts cells where the comma is a decimal sign; the next cell may then begin a formula.
_OTHER_SEPARATORS: Final = (";", "\t", "|")
_CELL_FORMULA: Final = re.compile(
    rf"(^|[{re.escape(''.join(_OTHER_SEPARATORS))},])(\s*)(?=[{re.escape(''.join(_FORMULA_STARTS))}])"
)
_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")


class VerdictRow(NamedTuple):
    """A meme's line.

    Attributes:
        image: Its picture, as the source names it.
        prediction: The label's word; empty if there is no verdict.
        probability: Of being **non-offensive**, in [0, 1].
        logit: Of being offensive.
        error: A ``MemeError``'s code; empty if there is a verdict.
        detail: What is wrong, for people.
    """

    image: str
    prediction: str = ""
    probability: float | None = None
    logit: float | None = None
    error: str = ""
    detail: str = ""


def make_row(image: str, outcome: Verdict | MemeError) -> VerdictRow:
    """The line of a meme that has been judged, or cannot be."""
    name = image.encode(errors="backslashreplace").decode()
    name = name if len(name) <= _MAX_NAME_CHARS else f"{name[:_MAX_NAME_CHARS]}…"
    if not isinstance(outcome, Exception):
        if math.isfinite(outcome.logit):
            return VerdictRow(name, *outcome)
        outcome = NoVerdictError(f"logit is {outcome.logit}; the model is of no use for this meme")
    # Pillow's words may hold line ends, and addresses, which differ from run to run.
    detail = " ".join(_ADDRESS.sub("", str(outcome)).split()).encode(errors="backslashreplace").decode()
    return VerdictRow(name, error=outcome.code, detail=detail[:_MAX_DETAIL_CHARS])


def format_row(row: VerdictRow, model: str, *, for_spreadsheets: bool) -> str:
    """A line of CSV, line feed included.

    Args:
        row: What to write.
        model: Which model judged.
        for_spreadsheets: Put ``./`` before a name that would be a formula: the same file, but no formula. A name with
            another separator is quoted, so that a spreadsheet that parts cells there does not part it; the detail,
            which is for people, gets an apostrophe before what would begin a formula.
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
    # With this line end, csv quotes a field that holds a carriage return alone, too.
    csv.writer(line, lineterminator="\r\n").writerow(fields)
    return line.getvalue().removesuffix("\r\n")

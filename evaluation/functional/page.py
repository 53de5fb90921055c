"""Show a functional test as one HTML page that needs no script, no network and no other file.

Captions stay hidden until a reader opens them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from evaluation.functional.figures import find_worst
from evaluation.functional.result import SETTING_WORDS
from evaluation.functional.table import format_p
from evaluation.page import PAGE, make_environment
from memes.atomic_file import write_whole

if TYPE_CHECKING:
    from evaluation.functional.result import FunctionalResult

_TEMPLATE: Final = "functional.html"
_HERE: Final = Path(__file__).parent


def write_functional(result: FunctionalResult, out: Path) -> Path:
    """Write the page into ``out``, a folder that is made if it is missing; return the page's path."""
    environment = make_environment(_HERE, _HERE.parent)
    environment.filters |= {"p": format_p, "worst": find_worst}
    page = environment.get_template(_TEMPLATE).render(result=result, words=SETTING_WORDS)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / PAGE, page.encode("utf-8"))
    return out / PAGE

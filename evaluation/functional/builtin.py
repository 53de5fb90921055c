"""The functional test that comes with memeguard: ``suite.json``, whose templates are filled with identity terms.

The sentences, and the pictures drawn for them, are our own. ``docs/evaluate.md`` says what the suite is and is not.
"""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from evaluation.functional.cases import Case, Suite
from evaluation.functional.motifs import PLEASANT, UNPLEASANT, draw_motif, pick_colour
from evaluation.functional.spelling import SPELLINGS
from memes.meme import Label

if TYPE_CHECKING:
    from collections.abc import Iterator

BUILTIN: Final = "builtin"
_FILE: Final = Path(__file__).with_name("suite.json")
_LABELS: Final = {label.word: label for label in Label}
_MOTIFS: Final = {"pleasant": PLEASANT, "unpleasant": UNPLEASANT}
_NUM_VARIANTS: Final = 2  # drawings of each motif
_SIDE: Final = 256  # pixels


def read_builtin(every: int = 1) -> Suite:
    """Read the built-in suite; it is the same each time.

    Args:
        every: Keep one of this many groups with each template. Groups take turns, so that each is still mentioned in
            every functionality that has as many templates. Templates that mention no group are all kept.
    """
    content = _FILE.read_bytes()
    suite = json.loads(content)
    # Each functionality begins with another group, so that every term of a group is kept somewhere.
    cases = (_expand(one, suite, start, every) for start, one in enumerate(suite["functionalities"]))
    return Suite(
        name=BUILTIN,
        sha256=hashlib.sha256(content).hexdigest(),
        cases=tuple(itertools.chain.from_iterable(cases)),
        read_picture=draw_picture,
        about={functionality["name"]: functionality["about"] for functionality in suite["functionalities"]},
    )


@functools.cache
def draw_picture(name: str) -> bytes:
    """Draw a picture of the suite, a PNG; ``name`` is that of a motif and the number of a variant, "rose-1"."""
    motif, _, _ = name.rpartition("-")
    rng = random.Random(name)  # noqa: S311 - no secret
    scene = Image.new("RGB", (_SIDE, _SIDE), pick_colour(rng, 0.2, 0.9))
    drawn = draw_motif(motif, rng)
    scene.paste(drawn, (0, 0), drawn)
    scene.save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def _expand(functionality: dict[str, Any], suite: dict[str, Any], start: int, every: int) -> Iterator[Case]:
    """The cases of one functionality: each template with each group, or once if it mentions none."""
    name, templates = functionality["name"], functionality["templates"]
    if isinstance(templates, str):
        templates = suite["templates"][templates]
    numbers = itertools.count(1)
    for row, template in enumerate(templates):
        for column, group in enumerate(suite["groups"] if "{" in template else [None]):
            number = next(numbers)
            if group and (start + row + column) % every:
                continue
            yield Case(
                functionality=name,
                text=_spell(_fill(template, group, row), functionality, row),
                label=_LABELS[functionality["label"]],
                group=group["name"] if group else "",
                picture=_choose_picture(functionality, row, column),
                where=f"{BUILTIN}, {name}, case {number}",
            )


def _fill(template: str, group: dict[str, Any] | None, row: int) -> str:
    """Templates take turns with a group's terms, so that each term occurs in each functionality."""
    if group is None:
        return template
    people, person = group["terms"][row % len(group["terms"])]
    return template.format(people=people, person=person)


def _spell(text: str, functionality: dict[str, Any], row: int) -> str:
    names = functionality.get("spellings", ())
    return SPELLINGS[names[row % len(names)]](text) if names else text


def _choose_picture(functionality: dict[str, Any], row: int, column: int) -> str | None:
    """The same motif for the same caption in every functionality, so that captions and motifs balance."""
    if (kind := functionality.get("pictures")) is None:
        return None
    motifs = _MOTIFS[kind]
    turn, motif = divmod(row + column, len(motifs))
    return f"{motifs[motif]}-{turn % _NUM_VARIANTS}"

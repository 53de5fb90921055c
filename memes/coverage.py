"""Measure how well a tokenizer can write captions: which scripts it knows, which it loses or writes byte by byte."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenizers import Encoding, Tokenizer

_MIN_SHARE: Final = 0.1  # of a script's characters that are lost or written as bytes, from which a report names it
_MIN_CHARACTERS: Final = 10
_SYMBOLS: Final = "emoji and symbols"


@dataclass(frozen=True, kw_only=True)
class ScriptCoverage:
    """How a tokenizer writes the letters of one script.

    Attributes:
        script: Name of the script in Unicode's words, such as "Tamil", or "emoji and symbols".
        num_characters: Letters, vowel signs and accents of the script.
        num_unknown: Characters that become an unknown token, so that the model cannot see them.
        num_in_pieces: Characters that take several tokens each, such as one for each byte.
    """

    script: str
    num_characters: int
    num_unknown: int
    num_in_pieces: int


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How a tokenizer writes captions.

    Attributes:
        num_tokens: Tokens of all captions, without special ones.
        num_unknown_tokens: How many of them are the unknown token.
        scripts: The scripts of the captions, the most frequent one first.
    """

    num_tokens: int
    num_unknown_tokens: int
    scripts: tuple[ScriptCoverage, ...]


def measure_coverage(captions: Iterable[str], tokenizer: Tokenizer, unknown_id: int | None) -> Coverage:
    """Measure how ``tokenizer`` writes ``captions``; ``unknown_id`` is its unknown token, None if it has none."""
    num_tokens = num_unknown_tokens = 0
    seen, unknown, in_pieces = Counter[str](), Counter[str](), Counter[str]()
    for caption in captions:
        encoding = tokenizer.encode(caption, add_special_tokens=False)
        num_tokens += len(encoding.ids)
        num_unknown_tokens += sum(token_id == unknown_id for token_id in encoding.ids)
        lost, pieces = _find_places(encoding, unknown_id)
        for place, character in enumerate(caption):
            if script := _name_script(character):
                seen[script] += 1
                unknown[script] += place in lost
                in_pieces[script] += place not in lost and pieces[place] > 1
    scripts = (
        ScriptCoverage(script=name, num_characters=num, num_unknown=unknown[name], num_in_pieces=in_pieces[name])
        for name, num in seen.most_common()
    )
    return Coverage(num_tokens=num_tokens, num_unknown_tokens=num_unknown_tokens, scripts=tuple(scripts))


def format_coverage(coverage: Coverage) -> str:
    """Format the share of unknown tokens, and a line for each script that the tokenizer cannot write."""
    share = coverage.num_unknown_tokens / max(1, coverage.num_tokens)
    lines = [f"unknown tokens: {coverage.num_unknown_tokens} of {coverage.num_tokens} ({share:.1%})"]
    for script in coverage.scripts:
        if script.num_characters < _MIN_CHARACTERS:
            continue
        if (share := script.num_unknown / script.num_characters) >= _MIN_SHARE:
            lines.append(f"  {script.script}: {share:.0%} of {script.num_characters} characters are unknown tokens, "
                         "which the model cannot tell apart")  # fmt: skip
        if (share := script.num_in_pieces / script.num_characters) >= _MIN_SHARE:
            lines.append(f"  {script.script}: {share:.0%} of {script.num_characters} characters take several tokens "
                         "each, which a model rarely reads well")  # fmt: skip
    return "\n".join(lines)


def _find_places(encoding: Encoding, unknown_id: int | None) -> tuple[set[int], Counter[int]]:
    """Return the places of a caption that are unknown, and how many tokens each place has."""
    lost: set[int] = set()
    pieces: Counter[int] = Counter()
    for token_id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        pieces.update(range(start, end))
        if token_id == unknown_id:
            lost.update(range(start, end))
    return lost, pieces


def _name_script(character: str) -> str | None:
    """Return the script of a letter or of a sign on a letter; None for blanks, digits and punctuation."""
    kind = unicodedata.category(character)
    if kind == "So":
        return _SYMBOLS
    if kind[0] not in "LM":
        return None
    # Python has no table of scripts, but the names of letters begin with theirs.
    script = unicodedata.name(character, "unnamed letters").split(" ")[0].split("-")[0]
    return script if script == "CJK" else script.capitalize()

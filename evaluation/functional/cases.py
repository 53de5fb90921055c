"""Cases of a functional test, whether they come from a file or with memeguard."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memes.meme import Label


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case of a functional test.

    Attributes:
        functionality: What the case tests, such as "negated hate".
        text: Caption.
        label: Offensive, or not.
        group: Group of people that the case mentions; empty if it mentions none.
        picture: Name of the case's own picture; None if the caption alone decides.
        where: File and row, as an error names them.
    """

    functionality: str
    text: str
    label: Label
    group: str
    picture: str | None
    where: str


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A functional test.

    Attributes:
        name: Name of the file without its suffix, or "builtin".
        sha256: SHA-256 of the file, in hex.
        cases: Its cases, one at least.
        read_picture: Returns the bytes of a case's own picture, by its name; raises ``OSError``.
        about: What each functionality is, by its name; a file does not say.
        skipped: A line for each faulty row that was left out.
    """

    name: str
    sha256: str
    cases: Sequence[Case]
    read_picture: Callable[[str], bytes]
    about: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()

"""Check the values of a row, in the same words for training and for bulk scoring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def show(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """A value as an error shows it: text in quotes, anything else as JSON."""
    try:
        return repr(value) if isinstance(value, str) else json.dumps(value)
    except RecursionError:  # hardly less deep than what the parser refuses
        return "a value nested too deeply"


def find_string_fault(values: Mapping[str, Any], column: str) -> str:
    """What is wrong if the column is missing or holds no string; empty if nothing is."""
    if column not in values:
        return f"missing key, {column!r}; the row has {', '.join(map(repr, values)) or 'none'}"
    if not isinstance(values[column], str):
        return f"{column.strip()} is not a string, {show(values[column])}"
    return ""


def find_character_fault(text: str, column: str, *, is_name: bool = False) -> str:
    """What is wrong with a string that UTF-8 or, if ``is_name``, a file's name cannot hold; empty if nothing is."""
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        return f"{column.strip()} holds half a character, {show(text)}"
    if is_name and "\0" in text:
        return f"{column.strip()} holds a NUL, {show(text)}; write img/0.png, for img\\0.png may become one"
    return ""


def find_picture_name(spelled: str, column: str, folder: Path, boundary: str) -> tuple[str, str]:
    """The name of a picture in ``folder``, without the blanks around it, and what is wrong with it.

    Args:
        spelled: The name as the row has it; an absolute one must lie in ``folder``.
        column: Where the row has it.
        folder: What the name is relative to.
        boundary: ``folder`` as an error names it.

    Returns:
        The name, and the fault; the fault is empty if there is none.
    """
    name = spelled.strip()
    if not name:
        return name, f"empty {column.strip()}, {spelled!r}"
    if name.startswith("/"):
        inside = (one for one in (folder.absolute(), folder.resolve()) if Path(name).is_relative_to(one))
        name = next((str(Path(name).relative_to(one)) for one in inside), name)
    if name.startswith("/") or ".." in name.replace("\\", "/").split("/"):
        return name, f"{column.strip()} leaves {boundary}, {spelled.strip()!r}"
    return name, ""

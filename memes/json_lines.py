"""Read JSON lines that list memes: an object a line; every fault is noted.

Does not know whose layout the lines belong to: keys and labels are told.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memes.listings import find_name
from memes.meme import Label
from memes.meme_file import Entry, MemeFile, MemeFileBuilder
from memes.text_file import check_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from memes.meme import RowErrors
    from memes.text_file import TextFile

FindLabel = Callable[[Any], Label | None]


@dataclass(frozen=True, kw_only=True)
class JsonLinesFormat:
    """A JSON object a line, with these keys among others.

    Attributes:
        image: Key of the picture's name.
        text: Key of the caption.
        label: Key of the label.
        find_label: The label that a value of that key means; None if it means none.
        label_words: Which values it may have, as an error says.
        boundary: What a picture's name may not leave, as an error names it.
    """

    image: str
    text: str
    label: str
    find_label: FindLabel
    label_words: str
    boundary: str

    def has_labels(self, file: TextFile) -> bool:
        """False if there are rows, all are JSON objects, and none has a label."""
        num_rows = 0
        try:
            for record in file.records():
                if record.data.strip():
                    num_rows += 1
                    if self.label in _parse_object(record.data):
                        return True
        except (ValueError, OSError):  # said in words by whoever reads the file
            return True
        return not num_rows

    def companions(self, file: TextFile) -> Sequence[TextFile]:  # noqa: ARG002
        """None."""
        return ()

    def read_memes(self, file: TextFile, folder: Path, errors: RowErrors) -> MemeFile | None:
        """Scan a whole file, see ``ListingFormat``."""
        if not check_text(file, f"a JSON object a line, with {self.image}, {self.text}, {self.label}", errors):
            return None
        builder = MemeFileBuilder(file, errors)
        parse = functools.partial(self.parse_line, folder)
        for record in file.records():
            if record.data.strip():
                builder.add(record, parse(record.data))
        return builder.build(folder, parse)

    def parse_line(self, folder: Path, data: bytes) -> Entry:
        """Parse one line, a JSON object or not; its picture is relative to ``folder``."""
        try:
            row = _parse_object(data)
        except ValueError as error:
            return Entry(None, "", None, (str(error),))
        name, image_fault = "", _find_string_fault(row, self.image) or _find_nul(row, self.image)
        if not image_fault:
            name, image_fault = find_name(row[self.image], self.image, folder, self.boundary)
        text_fault = _find_string_fault(row, self.text)
        label, label_fault = self._find_label(row)
        return Entry(
            image_name=None if image_fault else name,
            text="" if text_fault else row[self.text],
            label=None if text_fault else label,
            faults=tuple(fault for fault in (image_fault, text_fault, label_fault) if fault),
        )

    def _find_label(self, row: dict[str, Any]) -> tuple[Label | None, str | None]:
        if self.label not in row:
            return None, _describe_missing(row, self.label)
        if (label := self.find_label(row[self.label])) is None:
            return None, f"unknown label, {json.dumps(row[self.label])}; it must be {self.label_words}"
        return label, None


def peek_keys(file: TextFile) -> list[str]:
    """The keys of the first object; none if the file does not begin with one."""
    try:
        for record in file.records():
            if record.data.strip():
                return list(_parse_object(record.data))
    except (ValueError, OSError):
        pass
    return []


def _parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object; raises ``ValueError`` that says what is wrong with it."""
    try:
        # Of bytes, json would guess the encoding.
        row = json.loads(data.decode().strip("\r\n"), object_pairs_hook=_refuse_repeated)
    except json.JSONDecodeError as error:
        hint = r"; a picture's name is written img/0.png, not img\0.png" if "escape" in error.msg else ""
        raise ValueError(f"malformed JSON, {error.msg} (character {error.pos + 1}){hint}") from error
    except (ValueError, RecursionError) as error:  # too many digits, nested too deeply
        raise ValueError(f"malformed JSON, {error}") from error
    if not isinstance(row, dict):
        raise ValueError(f"not a JSON object, {json.dumps(row)}")  # noqa: TRY004
    return row


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in pairs:
        if key in row:
            raise ValueError(f"repeated key {key!r}")
        row[key] = value
    return row


def _find_string_fault(row: dict[str, Any], key: str) -> str | None:
    if key not in row:
        return _describe_missing(row, key)
    value = row[key]
    if not isinstance(value, str):
        return f"{key} is no string, {json.dumps(value)}"
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        return f"{key} holds half a character, {json.dumps(value)}"
    return None


def _find_nul(row: dict[str, Any], key: str) -> str | None:
    if "\0" in row[key]:
        return f"{key} holds a NUL, {json.dumps(row[key])}; write img/0.png, for img\\0.png may become one"
    return None


def _describe_missing(row: dict[str, Any], key: str) -> str:
    return f"missing key, {key!r}; the row has {', '.join(map(repr, row)) or 'none'}"

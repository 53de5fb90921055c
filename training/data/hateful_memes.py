"""The layout of the Hateful Memes challenge (Kiela et al. 2020): JSON lines beside the folder img; 1 is hateful.

Does not know which splits somebody wants, nor what becomes of the memes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from training.data.listings import find_name_fault, make_flat_kind
from training.data.meme_file import Entry, MemeFile, MemeFileBuilder
from training.data.memes import Label
from training.data.text_file import check_text

if TYPE_CHECKING:
    from pathlib import Path

    from training.data.memes import Offenders, Split
    from training.data.text_file import TextFile

# The challenge's second phase renamed dev and test to dev_seen and test_seen; its dev_unseen and test_unseen are not
# read.
FILE_NAMES: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("train.jsonl",),
    "validation": ("dev.jsonl", "dev_seen.jsonl"),
    "test": ("test.jsonl", "test_seen.jsonl"),
}
IMAGE_FOLDER: Final = "img"
KEYS: Final = ("img", "text", "label")

_IMG, _TEXT, _LABEL = KEYS


class JsonLinesFormat:
    """A JSON object a line, with the keys ``KEYS`` among others."""

    def has_labels(self, file: TextFile) -> bool:
        """False if there are rows, all are JSON objects, and none has a label, as in the challenge's test.jsonl."""
        num_rows = 0
        try:
            for record in file.records():
                if record.data.strip():
                    num_rows += 1
                    if _LABEL in _parse_object(record.data):
                        return True
        except (ValueError, OSError):  # said in words by whoever reads the file
            return True
        return not num_rows

    def read_memes(self, file: TextFile, folder: Path, offenders: Offenders) -> MemeFile | None:
        """Scan a whole file, see ``ListingFormat``."""
        if not check_text(file, f"a JSON object a line, with {', '.join(KEYS)}", offenders):
            return None
        builder = MemeFileBuilder(file, offenders)
        for record in file.records():
            if record.data.strip():
                builder.add(record, parse_line(record.data))
        return builder.build(folder, parse_line)


def parse_line(data: bytes) -> Entry:
    """Parse one line, a JSON object or not."""
    try:
        row = _parse_object(data)
    except ValueError as error:
        return Entry(None, "", None, (str(error),))
    image_fault = _find_string_fault(row, _IMG) or find_name_fault(row[_IMG], _IMG, "the data folder")
    text_fault, label_fault = _find_string_fault(row, _TEXT), _find_label_fault(row)
    return Entry(
        image_name=None if image_fault else row[_IMG].strip(),
        text="" if text_fault else row[_TEXT],
        label=None if text_fault or label_fault else Label(row[_LABEL]),
        faults=tuple(fault for fault in (image_fault, text_fault, label_fault) if fault),
    )


def _parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object; raises ``ValueError`` that says what is wrong with it."""
    try:
        # Of bytes, json would guess the encoding.
        row = json.loads(data.decode().strip("\r\n"), object_pairs_hook=_refuse_repeated)
    except json.JSONDecodeError as error:
        raise ValueError(f"malformed JSON, {error.msg} (character {error.pos + 1})") from error
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
    if key == _IMG and "\0" in value:
        return f"{key} holds a NUL, {json.dumps(value)}"
    return None


def _find_label_fault(row: dict[str, Any]) -> str | None:
    if _LABEL not in row:
        return _describe_missing(row, _LABEL)
    label = row[_LABEL]
    if type(label) is int and label in {0, 1}:  # neither True nor 1.0, which Python holds for equal to 1
        return None
    return f"unknown label, {json.dumps(label)}; it must be 0 or 1"


def _describe_missing(row: dict[str, Any], key: str) -> str:
    return f"missing key, {key!r}; the row has {', '.join(map(repr, row)) or 'none'}"


KIND: Final = make_flat_kind(
    name="Hateful Memes",
    expected=f"{IMAGE_FOLDER}, train.jsonl, dev.jsonl and test.jsonl",
    file_names=FILE_NAMES,
    listing_format=JsonLinesFormat(),
    image_folder=IMAGE_FOLDER,
)

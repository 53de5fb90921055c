"""Tell which picture, caption and label a row of a listing names, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from memes.row_values import find_character_fault, find_picture_name, find_string_fault, show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from memes.meme import Label


class ParsedRow(NamedTuple):
    """What a row says of a meme; image and label are None if it is wrong about them."""

    image: str | None
    text: str
    label: Label | None
    faults: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class RowParser:
    """Parses the rows of one file.

    Attributes:
        image: Column of the pictures' names, as the file spells it.
        text: Column of the captions.
        label: Column of the labels; not read if ``labels`` is given.
        folder: What the pictures' names are relative to.
        boundary: ``folder`` as an error names it.
        find_label: Returns the label that a value stands for, or None.
        label_words: The values a label may have, as an error names them.
        labels: Labels by picture, from a file of their own.
    """

    image: str
    text: str
    label: str
    folder: Path
    boundary: str
    find_label: Callable[[Any], Label | None]
    label_words: str
    labels: Mapping[str, Label] | None

    def parse(self, values: Mapping[str, Any]) -> ParsedRow:
        """Parse the values of a row by column."""
        image, image_fault = self._parse_image(values)
        text, text_fault = self._parse_text(values)
        label, label_fault = self._parse_label(values, image)
        faults = [fault for fault in (image_fault, text_fault, label_fault) if fault]
        return ParsedRow(None if image_fault else image, text, label, faults)

    def _parse_image(self, values: Mapping[str, Any]) -> tuple[str, str]:
        if fault := find_string_fault(values, self.image):
            return "", fault
        spelled = values[self.image]
        if fault := find_character_fault(spelled, self.image, is_name=True):
            return "", fault
        return find_picture_name(spelled, self.image, self.folder, self.boundary)

    def _parse_text(self, values: Mapping[str, Any]) -> tuple[str, str]:
        fault = find_string_fault(values, self.text) or find_character_fault(values[self.text], self.text)
        return ("", fault) if fault else (values[self.text], "")

    def _parse_label(self, values: Mapping[str, Any], image: str) -> tuple[Label | None, str]:
        if self.labels is not None:
            label = self.labels.get(image)
            return label, "" if label is not None else f"no label for {image!r} in the file of labels"
        if self.label not in values:
            return None, find_string_fault(values, self.label)
        if (label := self.find_label(values[self.label])) is None:
            return None, f"unknown label, {show(values[self.label])}; it must be {self.label_words}"
        return label, ""

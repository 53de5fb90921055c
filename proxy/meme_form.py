"""Find the meme in a form: exactly one picture and exactly one text.

Any bytes pass as a picture here; the model's worker decodes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from werkzeug.http import parse_options_header

from proxy.multipart import Part, parse_boundary, read_parts
from proxy.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

MISSING = "Missing image or text"  # the original service's words, which its clients compare


@dataclass(frozen=True, kw_only=True)
class Meme:
    """A picture's bytes, never empty, and the text on it, possibly empty."""

    image: bytes
    text: str


def read_meme(content_type: str, chunks: Iterable[bytes], *, max_text_bytes: int) -> Meme:
    """Read the meme from a request's body.

    Args:
        content_type: The request's Content-Type header, empty if it has none.
        chunks: The request's body.
        max_text_bytes: Longest text, in UTF-8.

    Raises:
        Problem: 400 or 413, saying which part is missing, repeated, malformed or too large.
    """
    media_type = parse_options_header(content_type)[0].lower()
    if media_type != "multipart/form-data":
        raise _missing(f"the request is {media_type or 'of no declared type'}; send multipart/form-data")
    parts = read_parts(chunks, boundary=parse_boundary(content_type), wanted=("image", "text"))
    image, text = _only(parts, "image"), _only(parts, "text")
    return Meme(image=_image_bytes(image), text=_decode_text(text, max_text_bytes))


def _only(parts: list[Part], name: str) -> Part | None:
    same = [part for part in parts if part.name == name]
    if len(same) > 1:
        raise Problem(400, "repeated_field", f"the field '{name}' was sent {len(same)} times; send it once")
    return same[0] if same else None


def _image_bytes(image: Part | None) -> bytes:
    if image is None:
        raise _missing("the form has no file 'image'")
    if not image.is_file:
        raise _missing("'image' was sent as a plain field; send it as a file, as in curl -F image=@meme.png")
    if not image.data:
        raise _missing("the file 'image' is empty (0 bytes)")
    return image.data


def _decode_text(text: Part | None, max_bytes: int) -> str:
    if text is None:
        raise _missing("the form has no field 'text'; for a picture without text send it empty")
    if len(text.data) > max_bytes:
        raise Problem(413, "text_too_long", f"text has {len(text.data)} bytes; the limit is {max_bytes} bytes")
    try:
        return text.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem(400, "invalid_text", f"text is not UTF-8: {error.reason} at byte {error.start}") from error


def _missing(detail: str) -> Problem:
    return Problem(400, "missing_part", detail, error=MISSING)

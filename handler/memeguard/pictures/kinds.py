"""Recognise a file by its first bytes: a supported picture, or what it seems to be and what to do."""

from __future__ import annotations

import re
import struct
from typing import Final

from memeguard.errors import UnsupportedImageError

# Formats that people post. TIFF is excluded: no browser shows it, and its decoder has a long record of vulnerabilities.
IMAGE_FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF")
_LOOKED_AT: Final = 1024
_SAVE = "save it as a JPEG or PNG"
_FRAME = "send one of its frames as a JPEG or PNG"
_SCREENSHOT = "send a screenshot of it"
_UNPACK = "send the picture in it by itself"
_DOWNLOAD = "download the picture itself"

_READABLE: Final = (
    (re.compile(rb"\xff\xd8\xff"), "JPEG"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG"),
    (re.compile(rb"GIF8[79]a"), "GIF"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WEBP"),
    (re.compile(rb"BM.{12}", re.DOTALL), "BMP"),
)
_OTHERS: Final = (
    (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "a TIFF picture or a camera's raw file", _SAVE),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL picture", _SAVE),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 picture", _SAVE),
    (rb"8BPS", "a Photoshop file", _SAVE),
    (rb"gimp xcf", "a GIMP file", _SAVE),
    (rb"\0\0[\x01\x02]\0(?!\0\0)", "an icon or cursor", _SAVE),
    (rb"P[1-7][ \t\r\n#]", "a PNM picture", _SAVE),
    (rb"qoif", "a QOI picture", _SAVE),
    (rb".{0,512}?%PDF-", "a PDF document", _SCREENSHOT),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript file", _SCREENSHOT),
    (rb"\x1a\x45\xdf\xa3", "a WebM or Matroska film", _FRAME),
    (rb"RIFF....AVI |\0\0\x01\xba|FLV\x01|OggS", "a film", _FRAME),
    (rb"RIFF....WAVE|ID3|fLaC|\xff[\xfb\xf3\xf2]", "a sound file", "send a picture"),
    (rb"PK\x03\x04", "a ZIP archive or an Office document", _UNPACK),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd", "a compressed file", _UNPACK),
    (rb"data:image/|/9j/|iVBORw0KGgo|R0lGOD|UklGR", "a picture in base64", "send its bytes, decoded"),
    (rb"(?i:(\xef\xbb\xbf)?\s*(?=<).*?<svg[\s>/])", "an SVG drawing", "save it as a PNG"),
    (rb"(?i:(\xef\xbb\xbf)?\s*(?=<).*?<(!doctype html|html|head|body)[\s>])", "an HTML page", _DOWNLOAD),
    (rb"\s*[{\[][\s\"{\[\]}]", "JSON", "send the picture itself as a file"),
    (rb"[\t\n\r\x20-\x7e]+\Z", "plain text", "send the picture itself as a file"),
    (rb"\0+\Z", "nothing but zero bytes", "copy the file again"),
)  # fmt: skip
_PATTERNS: Final = tuple((re.compile(pattern, re.DOTALL), name, advice) for pattern, name, advice in _OTHERS)
_HEIC_BRANDS: Final = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}
_AVIF_BRANDS: Final = {b"avif", b"avis"}


def recognise(data: bytes) -> str:
    """Return which of ``IMAGE_FORMATS`` ``data`` starts as.

    Raises:
        UnsupportedImageError: It is none of them; the message says what it seems to be, and what to do.
    """
    start = data[:_LOOKED_AT]
    for pattern, name in _READABLE:
        if pattern.match(start):
            return name
    brands = _brands(start)
    if brands & _AVIF_BRANDS:
        return "AVIF"
    raise unsupported(len(data), *_guess(start, brands))


def unsupported(num_bytes: int, seeming: str, advice: str) -> UnsupportedImageError:
    """Return the error for an unsupported file, in words for the person who sent it."""
    readable = ", ".join(IMAGE_FORMATS)
    return UnsupportedImageError(
        f"image ({num_bytes} bytes) is not a picture in one of {readable}: it seems to be {seeming}; {advice}"
    )


def _guess(start: bytes, brands: set[bytes]) -> tuple[str, str]:
    if brands & _HEIC_BRANDS:
        return "a HEIC picture, as iPhones take them", f'{_SAVE}, or set the camera to "Most Compatible"'
    if brands:
        return "an MP4 or QuickTime film", _FRAME
    for pattern, name, advice in _PATTERNS:
        if pattern.match(start):
            return name, advice
    return "of an unknown kind", _SAVE


def _brands(start: bytes) -> set[bytes]:
    """Return the brands of an ISO media file (ISO 14496-12, ``ftyp``); an empty set for other files."""
    if start[4:8] != b"ftyp":
        return set()
    (length,) = struct.unpack_from(">L", start)
    return {start[8:12]} | {start[at : at + 4] for at in range(16, min(length, len(start)), 4)}

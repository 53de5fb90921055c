"""Read the header of a JPEG: size, orientation, and the cost of its scans.

Phones write a JPEG followed by further pictures (MPO: a gain map, a depth map); the first is read as any JPEG.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from memeguard.errors import DamagedImageError, SlowImageError, UnsupportedImageError
from memeguard.pictures.header import Picture, read_orientation

_MAX_SEGMENTS = 10_000  # before the first scan; real files have fewer than 300, mostly colour profiles and previews
_MAX_SCANS = 100  # real files have about ten, and each costs a pass over all pixels
_MAX_SCANNED_SAMPLES = 1_000_000_000  # of all scans and colours together
_SOI, _EOI, _SOS, _COM, _APP1 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE1
_BARE = {0x01, *range(0xD0, 0xDA)}  # markers without a length
_DROPPED = {_COM, *range(0xE1, 0xEE), 0xEF}  # decoders do not read them; APP0 and APP14 define the colours
_READABLE = {0xC0, 0xC1, 0xC2}
_OTHER_KINDS = {0xC3: "lossless", **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical")}
_OTHER_KINDS |= {0xC9: "arithmetic-coded", 0xCA: "arithmetic-coded", 0xCB: "arithmetic-coded"}
_MARKER = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")  # in a scan: neither a stuffed 0xff nor a restart


class _Frame(NamedTuple):
    """A SOF segment; ``samples`` is the number of each component's samples."""

    progressive: bool
    width: int
    height: int
    samples: dict[int, int]


def read_jpeg(data: bytes) -> Picture:
    """Read the segments before the first scan, and count the scans of the first picture of ``data``."""
    kept, position, dropped = [b"\xff\xd8"], 2, False
    frame, orientation = None, 0
    for _ in range(_MAX_SEGMENTS):
        marker, start = _next_marker(data, position)
        if marker in {_SOS, _EOI}:
            break
        position = start if marker in _BARE else start + _length(data, start)
        content = data[start + 2 : position]
        if marker in _OTHER_KINDS or marker in _READABLE:
            frame = _read_frame(marker, content)
        if marker == _APP1 and content.startswith(b"Exif\0\0"):
            orientation = orientation or read_orientation(content)
        if marker in _DROPPED:
            dropped = True
        else:
            kept.append(bytes((0xFF, marker)) + data[start:position])
    else:
        raise DamagedImageError(f"image is a JPEG of over {_MAX_SEGMENTS} segments before its pixels")
    if frame is None or marker == _EOI:
        raise DamagedImageError(f"image (JPEG, {len(data)} bytes) has a damaged header: no pixels in it")
    return Picture(
        kind="JPEG",
        width=frame.width,
        height=frame.height,
        data=b"".join((*kept, b"\xff\xda", data[start:])) if dropped else data,
        num_bytes=len(data),
        opaque=len(frame.samples) == 3,  # noqa: PLR2004 - neither grey nor CMYK
        scan_bytes=_scan_bytes(data, start, frame),
        orientation=orientation or 1,
    )


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """Return the marker at or after ``position``, and where its content starts."""
    found = _MARKER.search(data, position)
    if not found:
        raise DamagedImageError(f"image (JPEG, {len(data)} bytes) has a damaged header: it ends before its pixels")
    return data[found.end() - 1], found.end()


def _length(data: bytes, start: int) -> int:
    return max(2, int.from_bytes(data[start : start + 2], "big"))


def _read_frame(marker: int, content: bytes) -> _Frame:
    if marker in _OTHER_KINDS:
        raise UnsupportedImageError(
            f"image is a JPEG of a kind that browsers do not show ({_OTHER_KINDS[marker]}); "
            "save it as an ordinary JPEG or a PNG"
        )
    try:
        _, height, width, num_components = struct.unpack_from(">BHHB", content)
        parts = list(struct.iter_unpack(">BBB", content[6 : 6 + 3 * num_components]))
    except struct.error:
        raise DamagedImageError("image (JPEG) has a damaged header: its frame is cut off") from None
    most = max(((part[1] >> 4) or 1) * ((part[1] & 15) or 1) for part in parts) if parts else 1
    full = (-(-width // 16) * 16) * (-(-height // 16) * 16)
    samples = {part[0]: full * (part[1] >> 4) * (part[1] & 15) // most for part in parts}
    return _Frame(marker == 0xC2, width, height, samples)  # noqa: PLR2004 - SOF2


def _scan_bytes(data: bytes, start: int, frame: _Frame) -> int:
    """Return the bytes of coefficients that a decoder keeps, 0 for a single scan; refuse too many scans."""
    first = data[start + 2] if start + 2 < len(data) else 0
    if not frame.progressive and first == len(frame.samples) and data.count(b"\xff\xda", start) == 0:
        return 0
    num_scans, scanned, position, marker = 0, 0, start, _SOS
    while marker != _EOI and num_scans <= _MAX_SCANS:
        length = _length(data, position)
        if marker == _SOS:
            num_scans += 1
            most = data[position + 2] if position + 2 < len(data) else 0
            components = data[position + 3 : position + length : 2][:most]
            scanned += sum(frame.samples.get(component, 0) for component in components)
        position += 0 if marker in _BARE else length
        found = _MARKER.search(data, position)
        if not found:
            break
        marker, position = data[found.end() - 1], found.end()
    _check_scans(num_scans, scanned)
    whole = num_scans == 1 and not frame.progressive and first == len(frame.samples)
    return 0 if whole else 2 * sum(frame.samples.values())


def _check_scans(num_scans: int, scanned: int) -> None:
    if num_scans > _MAX_SCANS:
        raise DamagedImageError(f"image is a JPEG of over {_MAX_SCANS} scans")
    if scanned > _MAX_SCANNED_SAMPLES:
        raise SlowImageError(
            f"image is a JPEG of {num_scans} scans of {scanned} samples in all; the limit is {_MAX_SCANNED_SAMPLES}"
        )

"""Small files that cost much, made in code."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIDE = 7000  # 49 megapixels: just under the limit


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, depth: int, colour: int, rows: bytes | None = None, *, extra: bytes = b"") -> bytes:
    """A PNG of ``rows``, or of zeros; ``colour`` is the colour type, ``extra`` stands before the pixels."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    rows = rows or bytes((1 + (width * channels * depth + 7) // 8) * height)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(rows, 1))
    return b"\x89PNG\r\n\x1a\n" + header + extra + pixels + png_chunk(b"IEND", b"")


def gif(screen: tuple[int, int], frame: tuple[int, int, int, int], *, disposal: int = 0, before: bytes = b"") -> bytes:
    """A GIF whose first frame has one pixel's data."""
    control = b"!\xf9\x04" + bytes((disposal << 2,)) + b"\0\0\0\0"
    head = b"GIF89a" + struct.pack("<HH", *screen) + b"\x80\0\0" + b"\xff\0\0\0\0\xff"
    return head + before + control + b"," + struct.pack("<HHHH", *frame) + b"\0" + b"\x02\x02\x44\x01\0;"


def multi_picture(jpeg: bytes) -> bytes:
    """``jpeg`` as a phone writes it: with an index of two pictures (CIPA DC-007), and the second one after it."""
    entries = struct.pack("<LLLHH", 0x030000, len(jpeg), 0, 0, 0) + struct.pack("<LLLHH", 0, 100, len(jpeg), 0, 0)
    tags = struct.pack("<HHHL4s", 3, 0xB000, 7, 4, b"0100") + struct.pack("<HHLL", 0xB001, 4, 1, 2)
    tags += struct.pack("<HHLLL", 0xB002, 7, 32, 50, 0)
    return insert_segment(jpeg, 0xE2, b"MPF\0II*\0" + struct.pack("<L", 8) + tags + entries) + jpeg


def insert_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    return jpeg[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def many_scans(num_scans: int, side: int = SIDE) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    jpeg = encode(Image.new("L", (side, side), 128), "JPEG", progressive=True, quality=50)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * num_scans + jpeg[-2:]


def moving_webp(side: int) -> bytes:
    """An animation of one pixel on a canvas of ``side`` times ``side``."""
    pixel = encode(Image.new("RGBA", (1, 1), "red"), "WEBP", lossless=True)[12:]
    frame = bytes(12) + struct.pack("<L", 100)[:3] + b"\0" + pixel
    canvas = b"\x12\0\0\0" + 2 * struct.pack("<L", side - 1)[:3]
    parts = ((b"VP8X", canvas), (b"ANIM", bytes(6)), (b"ANMF", frame), (b"ANMF", frame))
    body = b"WEBP" + b"".join(name + struct.pack("<L", len(content)) + content for name, content in parts)
    return b"RIFF" + struct.pack("<L", len(body)) + body


def exif_tags(num_tags: int) -> bytes:
    """An EXIF block of tags that each claim more data than there is, of which Pillow warns."""
    tags = b"".join(struct.pack("<HHLL", 0x8000 + index % 0x7000, 7, 1000, 8) for index in range(num_tags))
    return b"II*\0" + struct.pack("<LH", 8, num_tags) + tags + bytes(4)


def orientation_tag(value: int, *, kind: int = 3, count: int = 1, order: str = "<") -> bytes:
    """An EXIF block of one orientation; ``kind`` 3 is a SHORT, 4 a LONG, 1 a BYTE."""
    number = struct.pack(order + {1: "Bxxx", 3: "Hxx", 4: "L"}[kind], value)
    tag = struct.pack(order + "HHHL", 1, 0x0112, kind, count) + number + bytes(4)
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8) + tag


def flat_rgba(image_format: str, **options: object) -> bytes:
    return encode(Image.new("RGBA", (SIDE, SIDE), (255, 0, 0, 128)), image_format, **options)


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Smooth enough to survive lossy formats."""
    small = np.random.default_rng(5).integers(0, 256, (12, 16, 4), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def lying_avif(side: int, told: tuple[int, int]) -> bytes:
    """An AVIF of ``side`` times ``side`` whose header tells another size."""
    data = encode(Image.new("RGB", (side, side), "red"), "AVIF", speed=10)
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">LL", *told) + data[at + 8 :]

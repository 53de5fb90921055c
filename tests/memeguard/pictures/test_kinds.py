"""A file that is not a supported picture gets an error that says what it seems to be, and what to do."""

from __future__ import annotations

import base64
import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from memeguard.errors import DamagedImageError, UnsupportedImageError
from memeguard.pictures.avif import read_avif
from memeguard.preprocess import decode_image
from tests.memeguard.pictures.bombs import encode

PIXEL = Image.new("RGB", (8, 8), "red")


def media(*brands: bytes) -> bytes:
    return (
        struct.pack(">L", 16 + 4 * len(brands[1:])) + b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:]) + bytes(64)
    )


def bmp(depth: int, compression: int) -> bytes:
    head = struct.pack("<LllHHLLllLL", 40, 8, 8, 1, depth, compression, 256, 0, 0, 0, 0)
    return b"BM" + struct.pack("<LHHL", 310, 0, 0, 54) + head + bytes(256)


@pytest.mark.parametrize(
    ("data", "seeming"),
    [
        (media(b"heic", b"mif1", b"heic"), "a HEIC picture.*; save it as a JPEG or PNG"),
        (media(b"mif1", b"heix"), "a HEIC picture"),
        (media(b"isom", b"mp41"), "an MP4 or QuickTime film; send one of its frames"),
        (media(b"qt  "), "an MP4 or QuickTime film"),
        (b"\x1a\x45\xdf\xa3" + bytes(40), "a WebM or Matroska film"),
        (encode(PIXEL, "TIFF"), "a TIFF picture"),
        (encode(PIXEL, "ICO"), "an icon"),
        (encode(PIXEL, "PPM"), "a PNM picture"),
        (encode(PIXEL, "PDF"), "a PDF document; send a screenshot"),
        (b"\xff\x0a" + bytes(20), "a JPEG XL picture"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b'<?xml version="1.0"?>\n<!-- a --><svg xmlns="x"/>', "an SVG drawing; save it as a PNG"),
        (b"<svg/>", "an SVG drawing"),
        (b"\n<!DOCTYPE html><html><img src=a.png>", "an HTML page; download the picture itself"),
        (b"PK\3\4" + bytes(30), "a ZIP archive"),
        (gzip.compress(b"a", mtime=0), "a compressed file"),
        (base64.b64encode(encode(PIXEL, "PNG")), "a picture in base64; send its bytes"),
        (b"data:image/png;base64,AAAA", "a picture in base64"),
        (b'{"image": "a.png"}', "JSON"),
        (b"Dear Sir or Madam", "plain text"),
        (bytes(100), "nothing but zero bytes"),
        (encode(PIXEL, "TGA"), "of an unknown kind"),  # starts as a cursor file of no pictures would
        (b"\x81\x90\xf0\x12", "of an unknown kind"),
    ],
)
def test_what_a_file_seems_to_be_is_said(data: bytes, seeming: str) -> None:
    with pytest.raises(
        UnsupportedImageError,
        match=rf"^image \({len(data)} bytes\) is not a picture in one of JPEG, .*, AVIF: it seems to be {seeming}",
    ):
        decode_image(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(bmp(2, 0), r"pixel depth \(2\)"), (bmp(24, 4), r"compression \(4\)"), (bmp(64, 0), r"pixel depth \(64\)")],
)
def test_a_bmp_of_a_kind_that_is_not_read_is_no_damage(data: bytes, reason: str) -> None:
    with pytest.raises(UnsupportedImageError, match=rf"is a BMP of an unsupported kind: {reason}; save it as"):
        decode_image(data)


@pytest.mark.parametrize(("marker", "kind"), [(0xC3, "lossless"), (0xC9, "arithmetic-coded"), (0xC5, "hierarchical")])
def test_a_jpeg_of_a_kind_that_browsers_do_not_show_is_named(marker: int, kind: str) -> None:
    jpeg = encode(PIXEL, "JPEG")
    at = jpeg.index(b"\xff\xc0") + 1
    with pytest.raises(UnsupportedImageError, match=kind):
        decode_image(jpeg[:at] + bytes((marker,)) + jpeg[at + 1 :])


def test_an_avif_is_read_whatever_brand_it_starts_with() -> None:
    avif = encode(PIXEL, "AVIF", quality=100)
    for data in (avif, avif.replace(b"ftypavif", b"ftypmif1", 1)):
        pixels = np.asarray(decode_image(data), dtype=float)
        assert pixels.mean((0, 1)) == pytest.approx([255, 0, 0], abs=6)


@pytest.mark.parametrize("brand", [b"avif", b"avis"])
def test_the_size_of_a_moving_avif_is_read_from_its_track(brand: bytes) -> None:
    """Times take 8 bytes in its header, so that the size stands later than it does in older films."""
    frames = [Image.new("RGB", (24, 16), colour) for colour in ("red", "blue")]
    moving = encode(frames[0], "AVIF", save_all=True, append_images=frames[1:]).replace(b"ftypavis", b"ftyp" + brand)
    assert b"tkhd\1" in moving
    assert read_avif(moving.replace(b"ispe", b"free")).width == 24
    assert decode_image(moving).size == (24, 16)


@pytest.mark.parametrize("num_bytes", range(2, 10))
def test_a_scan_that_is_cut_off_in_its_header_is_damage(num_bytes: int) -> None:
    jpeg = encode(PIXEL, "JPEG", progressive=True)
    with pytest.raises(DamagedImageError):
        decode_image(jpeg[: jpeg.rindex(b"\xff\xda") + num_bytes])

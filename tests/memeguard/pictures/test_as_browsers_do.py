"""Transparency and orientation come out as a browser shows them on a white page."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from memeguard.preprocess import decode_image
from tests.memeguard.pictures import bombs
from tests.memeguard.pictures.bombs import encode, insert_segment, orientation_tag, png, png_chunk

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)
WIDE = Image.new("RGB", (32, 16), RED)


def grey_rows(depth: int, *values: int) -> bytes:
    """One row of samples, as a PNG stores it."""
    bits = "".join(f"{value:0{depth}b}" for value in values)
    return b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")


@pytest.mark.parametrize(
    ("depth", "key"), [(1, 0), (1, 1), (2, 1), (2, 2), (4, 0), (4, 5), (8, 0), (8, 90), (16, 0), (16, 30000)]
)
def test_a_transparent_grey_is_white(depth: int, key: int) -> None:
    other = 0 if key else 2**depth - 1
    data = png(
        8, 1, depth, 0, grey_rows(depth, *[key] * 4, *[other] * 4), extra=png_chunk(b"tRNS", struct.pack(">H", key))
    )
    image = decode_image(data)
    assert [image.getpixel((x, 0)) for x in (0, 7)] == [WHITE, (0, 0, 0) if other == 0 else WHITE]


def test_grey_beside_the_transparent_one_stays() -> None:
    image = decode_image(png(4, 1, 2, 0, grey_rows(2, 0, 1, 2, 3), extra=png_chunk(b"tRNS", b"\0\1")))
    assert [image.getpixel((x, 0))[0] for x in range(4)] == [0, 255, 170, 255]


def test_a_transparent_colour_of_16_bits_is_white() -> None:
    row = b"\0" + struct.pack(">6H", 30000, 20000, 10000, 10000, 20000, 30000)
    image = decode_image(png(2, 1, 16, 2, row, extra=png_chunk(b"tRNS", struct.pack(">3H", 30000, 20000, 10000))))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [WHITE, (10000 >> 8, 20000 >> 8, 30000 >> 8)]


def test_a_transparent_index_of_few_bits_is_no_grey() -> None:
    palette = png_chunk(b"PLTE", bytes((*RED, *BLUE, 0, 255, 0, 0, 0, 0))) + png_chunk(b"tRNS", b"\xff\x00")
    image = decode_image(png(4, 1, 2, 3, grey_rows(2, 0, 1, 2, 3), extra=palette))
    assert [image.getpixel((x, 0)) for x in range(4)] == [RED, WHITE, (0, 255, 0), (0, 0, 0)]


@pytest.mark.parametrize("frame", [(25, 30, 50, 40), (80, 80, 50, 50)])
def test_what_no_frame_of_a_gif_covers_is_white(frame: tuple[int, int, int, int]) -> None:
    left, top, width, height = frame
    buffer = bytearray(encode(Image.new("P", (width, height)), "GIF"))
    at = buffer.index(b",")
    buffer[6:10], buffer[at + 1 : at + 5] = struct.pack("<HH", 100, 100), struct.pack("<HH", left, top)
    image = decode_image(bytes(buffer))
    assert image.size == (max(100, left + width), max(100, top + height))
    assert image.getpixel((0, 0)) == WHITE
    assert image.getpixel((left, top)) == image.getpixel((left + width - 1, top + height - 1)) == (0, 0, 0)


def test_a_large_gif_is_laid_on_its_canvas_too() -> None:
    data = bombs.gif((4000, 3000), (2000, 1500, 1, 1))
    image = decode_image(data, wanted_size=224)
    colours = {colour: count for count, colour in image.getcolors()}
    assert image.size == (800, 750)
    assert colours == {WHITE: 800 * 750 - 1, RED: 1}


@pytest.mark.parametrize(
    "exif",
    [orientation_tag(6, kind=4), orientation_tag(6, kind=1), orientation_tag(6, count=2), orientation_tag(9)],
    ids=["long", "byte", "two", "nine"],
)
def test_an_orientation_of_another_type_is_ignored(exif: bytes) -> None:
    for image_format in ("JPEG", "PNG", "WEBP"):
        assert decode_image(encode(WIDE, image_format, exif=b"Exif\0\0" + exif)).size == (32, 16)


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_orientation_in_either_byte_order_is_undone(order: str) -> None:
    assert decode_image(encode(WIDE, "JPEG", exif=b"Exif\0\0" + orientation_tag(6, order=order))).size == (16, 32)


def test_an_orientation_in_xmp_is_ignored() -> None:
    jpeg = insert_segment(encode(WIDE, "JPEG"), 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    for data in (jpeg, encode(WIDE, "PNG", pnginfo=info), encode(WIDE, "WEBP", xmp=XMP)):
        assert decode_image(data).size == (32, 16)
        with Image.open(io.BytesIO(data)) as image:
            assert b"Orientation" in data
            assert image.size == (32, 16)


def test_the_first_of_two_exif_segments_counts() -> None:
    jpeg = insert_segment(encode(WIDE, "JPEG"), 0xE1, b"Exif\0\0" + orientation_tag(3))
    assert decode_image(insert_segment(jpeg, 0xE1, b"Exif\0\0" + orientation_tag(6))).size == (16, 32)


def test_metadata_changes_no_pixel() -> None:
    image = bombs.photo(64, 48)
    for image_format, options in (
        ("JPEG", {"icc_profile": b"p" * 70_000, "comment": b"hello", "exif": b"Exif\0\0" + orientation_tag(1)}),
        ("WEBP", {"icc_profile": b"p" * 70_000, "exif": orientation_tag(1), "xmp": XMP}),
    ):
        plain, rich = encode(image, image_format), encode(image, image_format, **options)
        assert len(rich) > len(plain) + 70_000
        assert np.array_equal(decode_image(rich), decode_image(plain))

"""Pictures that people post are decoded, upright and in RGB. Others are refused with a reason, and nothing crashes."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from memeguard.config import ImageConfig
from memeguard.errors import (
    DamagedImageError,
    ImageTooLargeError,
    MemeError,
    MissingPartError,
    SlowImageError,
    UnsupportedImageError,
)
from memeguard.preprocess import IMAGE_FORMATS, MAX_PIXELS, DecodingLimits, decode_image, resize_image
from memeguard.torch_runtime import channel_statistics, normalize_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
EXIF_ORIENTATION = 0x0112
LOSSLESS = ("PNG", "GIF", "BMP")


def encode(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def noise(width: int = 24, height: int = 16) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(0).randbytes(width * height * 3))


def mean_colour(image: Image.Image) -> list[float]:
    return [float(value) for value in np.asarray(image, dtype=np.float64).mean((0, 1))]


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def quadrants() -> Image.Image:
    """Red at the top left, green at the top right, blue at the bottom left, white at the bottom right; 32x16."""
    image = Image.new("RGB", (32, 16), WHITE)
    image.paste(RED, (0, 0, 16, 8))
    image.paste(GREEN, (16, 0, 32, 8))
    image.paste(BLUE, (0, 8, 16, 16))
    return image


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_every_format_people_post_is_read(image_format: str) -> None:
    image = decode_image(encode(Image.new("RGB", (24, 16), (200, 40, 90)), image_format))
    assert (image.mode, image.size) == ("RGB", (24, 16))
    assert mean_colour(image) == pytest.approx([200, 40, 90], abs=4)  # JPEG and WEBP are lossy


@pytest.mark.parametrize("image_format", ["PNG", "BMP"])
def test_a_lossless_picture_keeps_every_pixel(image_format: str) -> None:
    assert decode_image(encode(noise(), image_format)).tobytes() == noise().tobytes()


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_its_first_frame(image_format: str) -> None:
    first, second = Image.new("RGB", (16, 16), RED), Image.new("RGB", (16, 16), BLUE)
    data = encode(first, image_format, save_all=True, append_images=[second], duration=100)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert mean_colour(decode_image(data)) == pytest.approx(RED, abs=4)


@pytest.mark.parametrize(
    "data",
    [encode(noise(), "TIFF"), encode(noise(), "ICO"), encode(noise(), "PPM"), b"Dear Sir or Madam", b"\0", b"<svg/>"],
    ids=["tiff", "ico", "ppm", "text", "nul", "svg"],
)
def test_what_is_no_picture_of_these_formats_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedImageError, match=rf"\({len(data)} bytes\) is not .* JPEG, PNG, GIF, WEBP, BMP"):
        decode_image(data)


def test_no_bytes_are_a_missing_part() -> None:
    with pytest.raises(MissingPartError, match="image is empty"):
        decode_image(b"")


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_half_a_picture_is_damaged(image_format: str) -> None:
    data = encode(noise(64, 64), image_format)
    with pytest.raises(DamagedImageError):
        decode_image(data[: len(data) // 2])


def test_damage_names_format_and_size() -> None:
    data = encode(noise(64, 64), "JPEG")[:-1000]
    with pytest.raises(DamagedImageError, match=rf"image \(JPEG, {len(data)} bytes\) cannot be decoded: .*truncated"):
        decode_image(data)


def test_a_png_whose_second_half_is_in_no_chunk_is_damaged() -> None:
    """What follows the first half is not joined to it, whatever its name."""
    data = encode(noise())
    start, end = data.index(b"IDAT") + 4, data.index(b"IEND") - 8
    halves = data[start : start + 500], data[start + 500 : end]
    picture = data[: start - 8] + png_chunk(b"IDAT", halves[0])
    decode_image(picture + png_chunk(b"IDAT", halves[1]) + data[end + 4 :])
    with pytest.raises(DamagedImageError, match=r"image \(PNG, \d+ bytes\) cannot be decoded: .*truncated"):
        decode_image(picture + png_chunk(b"\xff\xff\xff\xff", halves[1]) + data[end + 4 :])


def test_a_text_chunk_is_not_inflated() -> None:
    picture, bomb = encode(noise()), png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 80_000_000))
    assert decode_image(picture[:33] + bomb + picture[33:]).tobytes() == noise().tobytes()


def test_cmyk_becomes_rgb() -> None:
    cyan = encode(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG")
    assert mean_colour(decode_image(cyan)) == pytest.approx([0, 255, 255], abs=6)


@pytest.mark.parametrize("value", [0, 255, 256, 0x4000, 0x8000, 0xFFFF])
def test_16_bit_grey_is_scaled_not_clipped(value: int) -> None:
    data = encode(Image.fromarray(np.full((8, 8), value, dtype=np.uint16)))
    assert Image.open(io.BytesIO(data)).mode == "I;16"
    assert mean_colour(decode_image(data)) == [value >> 8] * 3


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
def test_every_mode_of_png_becomes_rgb(mode: str) -> None:
    image = decode_image(encode(Image.new("RGB", (8, 8), WHITE).convert(mode)))
    assert (image.mode, mean_colour(image)) == ("RGB", [255, 255, 255])


@pytest.mark.parametrize(("alpha", "expected"), [(0, [255, 255, 255]), (128, [255, 127, 127]), (255, [255, 0, 0])])
@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
def test_transparency_is_laid_on_white(alpha: int, expected: list[int], image_format: str) -> None:
    data = encode(Image.new("RGBA", (16, 16), (*RED, alpha)), image_format, lossless=True)
    assert mean_colour(decode_image(data)) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("image_format", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_laid_on_white(image_format: str) -> None:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([*BLUE, *RED])
    image.paste(1, (0, 0, 8, 16))
    decoded = decode_image(encode(image, image_format, transparency=0))
    assert (decoded.getpixel((0, 0)), decoded.getpixel((15, 15))) == (RED, WHITE)


def test_a_palette_with_an_alpha_per_entry_is_laid_on_white() -> None:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([*BLUE, *RED])
    assert decode_image(encode(image, transparency=b"\x80\xff")).getpixel((0, 0)) == (127, 127, 255)


# Where each corner of the upright picture lies in the stored one: EXIF 2.32, table "Orientation".
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda upright: upright.rotate(180),
    4: lambda upright: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda upright: upright.transpose(Image.Transpose.TRANSPOSE),
    6: lambda upright: upright.rotate(90, expand=True),  # the camera was turned clockwise
    7: lambda upright: upright.transpose(Image.Transpose.TRANSVERSE),
    8: lambda upright: upright.rotate(-90, expand=True),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_undone(orientation: int, image_format: str) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    options = {"subsampling": 0, "quality": 95} if image_format == "JPEG" else {"lossless": True}
    upright = decode_image(encode(STORED[orientation](quadrants()), image_format, exif=exif, **options))
    assert upright.size == (32, 16)
    corners = {(0, 0): RED, (31, 0): GREEN, (0, 15): BLUE, (31, 15): WHITE}
    for corner, colour in corners.items():
        assert upright.getpixel(corner) == pytest.approx(colour, abs=8)


def test_16_bit_grey_is_turned_upright_too() -> None:
    pixels = np.zeros((16, 32), dtype=np.uint16)
    pixels[0] = 0xFFFF
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 3
    upright = decode_image(encode(Image.fromarray(pixels), exif=exif))
    assert (upright.getpixel((0, 0)), upright.getpixel((0, 15))) == ((0, 0, 0), WHITE)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of damaged EXIF
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff"])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_does_not_make_a_picture_unreadable(exif: bytes, image_format: str) -> None:
    image = decode_image(encode(quadrants(), image_format, exif=exif))
    assert image.size == (32, 16)
    assert image.getpixel((2, 2)) == pytest.approx(RED, abs=30)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    assert decode_image(encode(quadrants(), exif=exif)).tobytes() == quadrants().tobytes()


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_extreme_shapes_are_squashed_to_the_same_square(size: tuple[int, int]) -> None:
    pixels_CHW = resize_image(decode_image(encode(Image.new("RGB", size, (200, 40, 90)))), 32)
    assert pixels_CHW.shape == (3, 32, 32)
    assert pixels_CHW[:, 16, 16].tolist() == [200, 40, 90]


def test_a_bomb_is_refused_without_being_decoded() -> None:
    """1.6 thousand million pixels, whose few rows are 2 kB; decoding would take gigabytes or fail as damage."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 1, 0, 0, 0, 0))
    rows = png_chunk(b"IDAT", zlib.compress(b"\0" * (5001 * 300)))
    bomb = b"\x89PNG\r\n\x1a\n" + header + rows + png_chunk(b"IEND", b"")
    assert len(bomb) < 3000
    tracemalloc.start()
    try:
        with pytest.raises(ImageTooLargeError, match=r"1600000000 pixels \(40000x40000\); the limit is 50000000"):
            decode_image(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_limit_itself_is_allowed() -> None:
    data = encode(Image.new("RGB", (20, 10)))
    assert decode_image(data, limits=DecodingLimits(max_pixels=200)).size == (20, 10)
    with pytest.raises(ImageTooLargeError, match=r"200 pixels \(20x10\); the limit is 199"):
        decode_image(data, limits=DecodingLimits(max_pixels=199))


def test_the_default_limit_lets_a_50_megapixel_picture_pass() -> None:
    assert MAX_PIXELS == 50_000_000


def mutations(data: bytes, count: int, rng: random.Random) -> Iterator[bytes]:
    for _ in range(count):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            damaged[int(len(damaged) * rng.random() ** 2)] = rng.randrange(256)  # headers more often than pixels
        if rng.random() < 0.8:
            mend_checksums(damaged)
        yield bytes(damaged[: rng.randint(1, len(damaged))] if rng.random() < 0.3 else damaged)


def mend_checksums(png: bytearray) -> None:
    """Make the chunks' checksums right, or else a damaged PNG would be refused before any decoder sees it."""
    start = 8
    while png.startswith(b"\x89PNG") and start + 12 <= len(png):
        end = start + 8 + int.from_bytes(png[start : start + 4], "big")
        png[end : end + 4] = zlib.crc32(png[start + 4 : end]).to_bytes(4, "big") if end + 4 <= len(png) else b""
        start = end + 4


@pytest.mark.filterwarnings("ignore")  # Pillow warns of much that it then reads
@pytest.mark.parametrize("image_format", [*IMAGE_FORMATS, "palette"])
def test_whatever_the_damage_only_our_errors_escape(image_format: str) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    if image_format == "palette":
        data = encode(noise().quantize(16), "PNG", transparency=b"\x80" * 16)
    else:
        data = encode(noise(), image_format, exif=exif)
    num_refused = 0
    for damaged in mutations(data, 60, random.Random(image_format)):
        try:
            assert resize_image(decode_image(damaged, limits=DecodingLimits(max_pixels=1_000_000)), 8).shape == (
                3,
                8,
                8,
            )
        except MemeError:
            num_refused += 1
    assert num_refused > 10


def test_resized_pixels_are_channels_first_bytes() -> None:
    image = Image.new("RGB", (100, 50), (1, 2, 3))
    image.paste(WHITE, (0, 0, 50, 50))
    pixels_CHW = resize_image(image, 16)
    assert (pixels_CHW.dtype, pixels_CHW.shape) == (np.uint8, (3, 16, 16))
    assert pixels_CHW.flags.c_contiguous
    assert pixels_CHW[:, 8, 0].tolist() == [255, 255, 255]
    assert pixels_CHW[:, 8, 15].tolist() == [1, 2, 3]


def test_nothing_is_cropped_when_a_wide_picture_is_resized() -> None:
    """CLIP's own transform would lose both edges of a picture twice as wide as high."""
    image = Image.new("RGB", (200, 100), WHITE)
    image.paste(RED, (0, 0, 30, 100))
    image.paste(BLUE, (170, 0, 200, 100))
    pixels_CHW = resize_image(image, 20)
    assert (pixels_CHW[:, 10, 0].tolist(), pixels_CHW[:, 10, 19].tolist()) == ([255, 0, 0], [0, 0, 255])


def test_normalization_is_clips_own() -> None:
    pixels_BCHW = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    processor = CLIPImageProcessorPil(do_resize=False, do_center_crop=False, do_convert_rgb=False)
    expected = processor(list(pixels_BCHW), input_data_format="channels_first", return_tensors="np")["pixel_values"]
    actual = normalize_pixels(torch.from_numpy(pixels_BCHW), *channel_statistics(ImageConfig(size=32)))
    assert actual.dtype == torch.float32
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_normalization_follows_the_given_mean_and_deviation() -> None:
    pixels_BCHW = torch.full((1, 3, 1, 1), 51, dtype=torch.uint8)  # 0.2
    image = ImageConfig(size=1, mean=(0.0, 0.2, 0.4), std=(1.0, 1.0, 0.5))
    actual = normalize_pixels(pixels_BCHW, *channel_statistics(image))
    np.testing.assert_allclose(actual.ravel(), [0.2, 0.0, -0.4], atol=1e-6)


def smooth(width: int, height: int) -> Image.Image:
    """Smooth enough to survive a JPEG."""
    small = np.random.default_rng(5).integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("side", "expected"), [(400, 400), (447, 447), (895, 895), (896, 448), (1792, 448), (4000, 500)]
)
def test_a_large_jpeg_is_decoded_smaller_but_never_below_twice_what_is_wanted(side: int, expected: int) -> None:
    picture = encode(smooth(side, side), "JPEG")
    assert decode_image(picture, wanted_size=224).size == (expected, expected)
    assert decode_image(picture).size == (side, side)


def test_the_shorter_side_decides_and_an_orientation_is_still_undone() -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    picture = encode(smooth(2000, 500), "JPEG", exif=exif)
    assert decode_image(picture, wanted_size=224).size == (500, 2000)
    assert decode_image(picture, wanted_size=100).size == (250, 1000)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_short_cuts_for_large_pictures_are_hardly_seen(image_format: str) -> None:
    """Beside every pixel decoded, and every one of them averaged."""
    picture = encode(smooth(3000, 2000), image_format)
    exact = np.asarray(decode_image(picture).resize((224, 224), Image.Resampling.BICUBIC), dtype=float)
    short = resize_image(decode_image(picture, wanted_size=224), 224).transpose(1, 2, 0).astype(float)
    assert np.abs(exact - short).mean() < 1.0
    assert np.abs(exact - np.roll(short, 4, axis=1)).mean() > 5.0  # or else it would be blind


def test_a_picture_as_people_post_them_is_not_touched_by_short_cuts() -> None:
    picture = encode(smooth(600, 440), "JPEG")
    exact = np.asarray(decode_image(picture).resize((224, 224), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.array_equal(resize_image(decode_image(picture, wanted_size=224), 224), exact)


def test_grey_and_cmyk_jpegs_come_out_as_rgb_however_large() -> None:
    for mode in ("L", "CMYK"):
        picture = decode_image(encode(Image.new(mode, (2000, 2000)), "JPEG"), wanted_size=100)
        assert (picture.mode, picture.size) == ("RGB", (250, 250))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
def test_a_picture_that_is_quick_enough_is_decoded_whole(image_format: str) -> None:
    picture = encode(smooth(400, 400), image_format)
    assert decode_image(picture, limits=DecodingLimits(timeout_s=60.0)) == decode_image(picture)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "BMP"])
def test_a_picture_that_is_too_slow_is_refused_in_any_thread(image_format: str) -> None:
    picture = encode(smooth(1600, 1600), image_format)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(decode_image, picture, limits=DecodingLimits(timeout_s=0.0))
        with pytest.raises(SlowImageError, match=r"image takes over 0\.0 s to decode"):
            future.result()


def test_scans_of_many_pixels_are_refused_without_decoding_them() -> None:
    jpeg = encode(Image.new("L", (7000, 7000)), "JPEG", progressive=True)
    last, end = jpeg.rindex(b"\xff\xda"), jpeg.rindex(b"\xff\xd9")
    with pytest.raises(SlowImageError, match=r"JPEG of \d+ scans of \d+ samples in all; the limit is 1000000000"):
        decode_image(jpeg[:end] + jpeg[last:end] * 50 + jpeg[end:])
    decode_image(encode(Image.new("L", (300, 300)), "JPEG", progressive=True))

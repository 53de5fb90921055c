"""Decoding any picture takes at most 2 s of computing and 300 MB of memory, and frees it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from PIL import Image

from memeguard.errors import DamagedImageError, ImageTooLargeError, MemeError, SlowImageError, detached
from memeguard.pictures.process import decode_apart
from memeguard.preprocess import DecodingLimits, decode_image, examine, resize_image
from tests.memeguard.pictures import bombs
from tests.memeguard.pictures.bombs import SIDE, encode, photo, png_chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_CPU_S, MAX_MB = 2.0, 300
# Everything is decoded in this process, so that what decoding processes would take is counted, too.
MEASURE = """
import json, os, pathlib, sys, time
from memeguard.errors import MemeError
from memeguard.pictures.decoding import decode
from memeguard.pictures.process import decode_apart
from memeguard.preprocess import MAX_PIXELS, examine, resize_image

def memory(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(name))

def measure(path):
    data = pathlib.Path(path).read_bytes()
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, start = memory("VmRSS"), time.process_time()
    try:
        picture, _ = examine(data, MAX_PIXELS, 224)
        resize_image(decode(picture, 224, None), 224)
        outcome = "decoded"
    except MemeError as error:
        outcome = error.code
    print(json.dumps([outcome, time.process_time() - start, memory("VmHWM") - before]), flush=True)

for line in sys.stdin:
    if os.fork() == 0:
        measure(line.rstrip("\\n"))
        os._exit(0)
    os.wait()
"""


class Cost(NamedTuple):
    outcome: str
    cpu_s: float
    peak_mb: int


@pytest.fixture(scope="module")
def cost_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bytes], Cost]]:
    """A function that decodes a picture in a fresh process and tells what it cost."""
    path = tmp_path_factory.mktemp("costs") / "picture"
    with subprocess.Popen(
        [sys.executable, "-c", MEASURE], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, bufsize=1
    ) as process:

        def measure(data: bytes) -> Cost:
            path.write_bytes(data)
            print(path, file=process.stdin)
            return Cost(*json.loads(process.stdout.readline()))

        yield measure
        assert not process.communicate()[1]  # not a warning, which a picture of 65,535 tags would write a log full of


@pytest.mark.parametrize(
    ("make", "outcome"),
    [
        (lambda: bombs.gif((1, 1), (0, 0, 65535, 65535), disposal=2), "image_too_large"),
        (lambda: bombs.gif((SIDE, SIDE), (0, 0, 1, 1)), "decoded"),
        (lambda: bombs.gif((10, 10), (0, 0, 1, 1), before=b"!\xfe" + b"\1x" * 8_000_000 + b"\0"), "damaged_image"),
        (lambda: bombs.gif((10, 10), (0, 0, 1, 1), before=b"!\xfe\1x\0" * 2_000_000), "damaged_image"),
        (lambda: encode(Image.new("P", (SIDE, SIDE)), "GIF", transparency=0), "decoded"),
        (lambda: bombs.multi_picture(bombs.many_scans(90)), "slow_image"),
        (lambda: bombs.multi_picture(bombs.many_scans(1000)), "damaged_image"),
        (lambda: encode(Image.new("RGB", (SIDE, SIDE)), "JPEG", progressive=True), "decoded"),
        (lambda: encode(Image.new("CMYK", (SIDE, SIDE)), "JPEG", progressive=True), "slow_image"),
        (lambda: encode(Image.new("RGB", (SIDE, SIDE)), "JPEG", progressive=True, subsampling=0), "image_too_large"),
        (lambda: encode(Image.new("RGB", (20000, 2400)), "JPEG", exif=bombs.orientation_tag(6)), "decoded"),
        (lambda: b"\xff\xd8" + b"\xff\xe1\0\2" * 4_000_000, "damaged_image"),
        (lambda: bombs.flat_rgba("WEBP", lossless=True, method=0, quality=0), "decoded"),
        (lambda: bombs.moving_webp(SIDE), "decoded"),
        (lambda: bombs.moving_webp(16384), "image_too_large"),
        (lambda: bombs.png(SIDE, SIDE, 8, 6), "decoded"),
        (lambda: bombs.png(SIDE, SIDE, 16, 4), "decoded"),
        (lambda: bombs.png(SIDE, SIDE, 16, 0, extra=png_chunk(b"eXIf", bombs.orientation_tag(6))), "decoded"),
        (lambda: bombs.png(SIDE, SIDE, 1, 0, extra=png_chunk(b"tRNS", b"\0\0")), "decoded"),
        (lambda: bombs.png(64, 64, 8, 2, extra=png_chunk(b"eXIf", bombs.exif_tags(65535))), "decoded"),
        (lambda: bombs.png(8, 8, 8, 0, extra=png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**8)))), "decoded"),
        (lambda: bombs.png(8, 8, 8, 0, extra=png_chunk(b"iTXt", b"k\0\0\0\0\0x") * 600_000), "damaged_image"),
        (lambda: encode(Image.new("1", (SIDE, SIDE)), "BMP"), "decoded"),
        (lambda: encode(Image.new("RGB", (5000, 4900)), "AVIF", speed=10), "decoded"),
        (lambda: bombs.lying_avif(64, (5100, 5000)), "image_too_large"),
    ],
    ids=[
        "gif-disposal", "gif-canvas", "gif-comment", "gif-comments", "gif-flat", "mpo-90-scans", "mpo-1000-scans",
        "jpeg-progressive", "jpeg-cmyk", "jpeg-progressive-444", "jpeg-thin", "jpeg-segments",
        "webp-flat", "webp-canvas", "webp-large-canvas", "png-rgba", "png-la16", "png-grey16", "png-bit", "png-exif",
        "png-ztxt", "png-itxt", "bmp-bit", "avif-25", "avif-large",
    ],
)  # fmt: skip
def test_no_picture_takes_more_than_it_may(
    make: Callable[[], bytes], outcome: str, cost_of: Callable[[bytes], Cost]
) -> None:
    cost = cost_of(make())
    assert cost.outcome == outcome
    assert cost.cpu_s < MAX_CPU_S
    assert cost.peak_mb < MAX_MB


def test_memory_beyond_what_the_header_promises_is_refused() -> None:
    """A decoding process gets that and 32 MB more; an AVIF of 8000x8000 needs 96 MB for its planes alone."""
    with pytest.raises(DamagedImageError, match="cannot be decoded"):
        decode_image(bombs.lying_avif(8000, (16, 16)), wanted_size=224, limits=DecodingLimits(timeout_s=5.0))
    picture, _ = examine(encode(Image.new("RGBA", (SIDE, SIDE)), "PNG"), SIDE**2, 224)
    with pytest.raises(ImageTooLargeError, match="takes more memory to decode than one picture may"):
        decode_apart(picture, 224, 5.0, 1 << 20)


def test_a_phones_jpeg_of_several_pictures_is_decoded_as_any_jpeg() -> None:
    jpeg = encode(photo(4000, 3000), "JPEG")
    several = bombs.multi_picture(jpeg)
    with Image.open(io.BytesIO(several)) as image:
        assert image.format == "MPO"
    decoded = decode_image(several, wanted_size=224)
    assert decoded.size == (1000, 750)
    assert decoded.tobytes() == decode_image(jpeg, wanted_size=224).tobytes()


def test_scans_of_a_preview_are_not_the_pictures() -> None:
    preview = encode(photo(160, 120), "JPEG", progressive=True)
    jpeg = encode(photo(640, 480), "JPEG")
    with_previews = jpeg
    for _ in range(20):
        with_previews = bombs.insert_segment(with_previews, 0xE1, b"Exif\0\0" + preview)
    assert with_previews.count(b"\xff\xda") > 150
    assert decode_image(with_previews).tobytes() == decode_image(jpeg).tobytes()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("image_format", ["WEBP", "PNG", "AVIF"])
def test_a_large_picture_looks_like_the_whole_of_it(image_format: str, mode: str) -> None:
    """Averaged down before, in another process, by libwebp: beside every pixel decoded here."""
    image = photo(2600, 1560, mode)
    options = {"PNG": {"compress_level": 1}, "WEBP": {"method": 0}, "AVIF": {"speed": 10}}[image_format]
    data = encode(image, image_format, **options)
    white = Image.new("RGBA", image.size, "white")
    exact = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    short = resize_image(decode_image(data, wanted_size=224), 224).astype(float)
    whole = np.asarray(exact.resize((224, 224), Image.Resampling.BICUBIC), dtype=float).transpose(2, 0, 1)
    assert np.abs(short - whole).mean() < 2.0
    assert np.abs(short - np.roll(whole, 8, axis=2)).mean() > np.abs(short - whole).mean() + 3.0


def test_failed_pictures_leave_nothing_in_memory() -> None:
    """One thread's error used to keep the traceback, that the frames, those the pixels."""
    picture = bombs.png(2000, 1500, 8, 6)[:-8000]

    def fail(data: bytes) -> Exception:
        try:
            decode_image(data, wanted_size=224, limits=DecodingLimits(timeout_s=5.0))
        except MemeError as error:
            return detached(error)
        raise AssertionError

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fail, [picture] * 4))
        before = resident_mb()
        errors = list(pool.map(fail, [picture] * 30))  # 12 MB of pixels each
        assert resident_mb() < before + 30
    assert {type(error) for error in errors} == {DamagedImageError}


def resident_mb() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4 // 1024


@pytest.mark.parametrize("timeout_s", [0.0, 0.01])
def test_what_is_decoded_apart_is_ended_in_time_too(timeout_s: float) -> None:
    with pytest.raises(SlowImageError, match=rf"takes over {timeout_s} s to decode"):
        decode_image(
            encode(photo(2000, 1500), "AVIF", speed=10), wanted_size=224, limits=DecodingLimits(timeout_s=timeout_s)
        )

"""Pictures: bytes to the pixels of a meme, as a worker prepares them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, features

from memeguard.bundle_files import read_model_config, read_tokenizer
from memeguard.errors import MemeError
from memeguard.predictor import MemePreparer
from memeguard.preprocess import DecodingLimits
from tests.fuzz.mutations import mutate_picture
from tests.fuzz.oracles import InsaneAnswerError, Target

if TYPE_CHECKING:
    from collections.abc import Callable

_BUNDLE: Final = Path(__file__).parents[3] / "starter" / "bundle"
_DECODE_TIMEOUT_S: Final = 1.5  # as in handler/model-config.yaml


def _reader() -> Callable[[bytes], object]:
    config = read_model_config(_BUNDLE)
    preparer = MemePreparer(config, read_tokenizer(_BUNDLE), DecodingLimits(timeout_s=_DECODE_TIMEOUT_S))
    size = config.image.size

    def read(data: bytes) -> object:
        pixels = preparer.prepare(data, "a caption").pixels_CHW
        if pixels.shape != (3, size, size) or pixels.dtype.name != "uint8":
            raise InsaneAnswerError(f"pixels of shape {pixels.shape}, {pixels.dtype}")
        return pixels.tobytes()

    return read


def _save(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def _seeds() -> list[bytes]:
    rgb = Image.effect_noise((17, 13), 90).convert("RGB")
    grey, alpha, palette = rgb.convert("L"), rgb.convert("RGBA"), rgb.quantize(8)
    exif = Image.Exif()
    exif[0x0112] = 6
    more = {"save_all": True, "append_images": [rgb.rotate(90)]}
    seeds = [
        *(_save(image, "PNG") for image in (rgb, grey, alpha, palette, grey.convert("1"), grey.convert("I;16"))),
        _save(alpha.convert("LA"), "PNG", exif=exif),
        _save(palette, "PNG", transparency=1),
        _save(rgb, "JPEG", exif=exif),
        _save(rgb, "JPEG", progressive=True, subsampling=0),
        _save(rgb.convert("CMYK"), "JPEG"),
        _save(rgb, "MPO", **more),
        *(_save(rgb, "GIF", disposal=disposal, loop=0, **more) for disposal in (1, 2, 3)),
        _save(palette, "GIF", transparency=1),
        *(_save(alpha, "WEBP", lossless=lossless, exif=exif) for lossless in (True, False)),
        _save(rgb, "WEBP", **more),
        *(_save(image, "BMP") for image in (rgb, grey, palette, grey.convert("1"))),
    ]
    if features.check("avif"):
        seeds += [_save(alpha, "AVIF", speed=10), _save(rgb, "AVIF", speed=10, exif=exif)]
    return seeds


TARGETS: Final = {
    "pictures": lambda: Target(
        run=_reader(), accepted=(MemeError,), seeds=_seeds, mutate=mutate_picture, max_bytes=8192
    )
}

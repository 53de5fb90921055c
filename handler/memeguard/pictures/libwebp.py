"""Decode a WEBP at a smaller size, with the libwebp that Pillow's plugin is linked to.

Pillow decodes every WEBP as an animation, with four copies of the canvas: 768 MB for 48 megapixels. libwebp itself can
scale row by row while it decodes, but no maintained binding offers that (pyvips does, with 40 other formats and threads
of its own). The decoder's structures have not changed since 2013; ``WebPInitDecoderConfigInternal`` refuses others.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_char, c_int, c_size_t, c_uint8, c_uint32, c_void_p

from PIL import Image, ImageChops, _webp

_ABI_VERSION = 0x0209  # webp/decode.h, WEBP_DECODER_ABI_VERSION; the upper byte must agree
_RGB, _PREMULTIPLIED_RGBA = 0, 7  # WEBP_CSP_MODE
_OUT_OF_MEMORY = 1  # VP8StatusCode
_STATUS = {2: "invalid parameter", 3: "bitstream error", 4: "unsupported feature", 7: "not enough data"}


class _Features(Structure):
    _fields_ = [(name, c_int) for name in ("width", "height", "has_alpha", "has_animation", "format")] + [
        ("pad", c_uint32 * 5)
    ]


class _Planes(Structure):  # the union of WebPRGBABuffer and the larger WebPYUVABuffer
    _fields_ = [("rgba", c_void_p), ("stride", c_int), ("size", c_size_t), ("rest", c_uint8 * 56)]


class _Buffer(Structure):
    _fields_ = [
        ("colorspace", c_int),
        ("width", c_int),
        ("height", c_int),
        ("is_external_memory", c_int),
        ("planes", _Planes),
        ("pad", c_uint32 * 4),
        ("private_memory", c_void_p),
    ]


class _Options(Structure):
    _fields_ = [
        (name, c_int)
        for name in (
            "bypass_filtering", "no_fancy_upsampling", "use_cropping", "crop_left", "crop_top", "crop_width",
            "crop_height", "use_scaling", "scaled_width", "scaled_height", "use_threads", "dithering_strength", "flip",
            "alpha_dithering_strength",
        )
    ] + [("pad", c_uint32 * 5)]  # fmt: skip


class _Config(Structure):
    _fields_ = [("input", _Features), ("output", _Buffer), ("options", _Options)]


def decode_scaled(data: bytes, size: tuple[int, int]) -> Image.Image:
    """Decode a still WEBP at ``size``, in RGB, transparency laid on white.

    Raises:
        MemoryError: libwebp could not get the memory it needs.
        OSError: The picture is damaged, or this libwebp cannot be called.
    """
    try:
        library = ctypes.CDLL(_webp.__file__)
        initialize, decode, look = (
            library.WebPInitDecoderConfigInternal,
            library.WebPDecode,
            library.WebPGetFeaturesInternal,
        )
    except (AttributeError, OSError) as error:
        raise OSError("Pillow's libwebp cannot be called") from error
    config = _Config()
    decode.argtypes = [ctypes.c_char_p, c_size_t, POINTER(_Config)]
    look.argtypes = [ctypes.c_char_p, c_size_t, POINTER(_Features), c_int]
    if not initialize(byref(config), _ABI_VERSION):
        raise OSError("libwebp is of another version")
    _check(look(data, len(data), byref(config.input), _ABI_VERSION))
    num_channels = 4 if config.input.has_alpha else 3
    pixels = bytearray(size[0] * size[1] * num_channels)
    config.options.use_scaling = 1
    config.options.scaled_width, config.options.scaled_height = size
    config.output.colorspace = _PREMULTIPLIED_RGBA if config.input.has_alpha else _RGB
    config.output.is_external_memory = 1
    config.output.planes = _Planes(ctypes.addressof(c_char.from_buffer(pixels)), size[0] * num_channels, len(pixels))
    _check(decode(data, len(data), byref(config)))
    if num_channels == 3:  # noqa: PLR2004
        return Image.frombytes("RGB", size, pixels)
    *colours, alpha = Image.frombytes("RGBA", size, pixels).split()
    white = ImageChops.invert(alpha)  # the share of white; the colours are multiplied with alpha
    return Image.merge("RGB", [ImageChops.add(colour, white) for colour in colours])


def _check(status: int) -> None:
    if status == _OUT_OF_MEMORY:
        raise MemoryError
    if status:
        raise OSError(f"libwebp: {_STATUS.get(status, status)}")

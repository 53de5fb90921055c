"""What can go wrong with a meme or a bundle, in words for the person who sent it.

Knows nothing of HTTP: whoever answers a client maps ``code`` to a status.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

_E = TypeVar("_E", bound=Exception)


class MemeguardError(Exception):
    """Anything that a person can mend: the command line shows it as one message and ends with ``exit_status``."""

    exit_status: ClassVar[int] = 1


class MemeError(MemeguardError):
    """A meme that cannot be judged; ``code`` is a stable, machine-readable name of the reason."""

    code: ClassVar[str]


class MissingPartError(MemeError):
    """The picture or the text is not there, or is of a type that cannot be one."""

    code = "missing_part"


class InvalidTextError(MemeError):
    """The text's bytes are not UTF-8."""

    code = "invalid_text"


class TextTooLongError(MemeError):
    """The text has more tokens than the model is allowed to read."""

    code = "text_too_long"


class UnsupportedImageError(MemeError):
    """The bytes are not a picture in a format that is read here."""

    code = "unsupported_image"


class DamagedImageError(MemeError):
    """The picture is truncated or otherwise undecodable."""

    code = "damaged_image"


class ImageTooLargeError(MemeError):
    """The picture would decode to more pixels than allowed (a decompression bomb)."""

    code = "image_too_large"


class SlowImageError(MemeError):
    """The picture takes longer to decode than one meme may hold up the others."""

    code = "slow_image"


class BusyError(MemeError):
    """The picture is a large one, and others came at the same time; it may be sent again."""

    code = "busy"


class BundleError(MemeguardError):
    """A bundle that is damaged, incomplete, foreign, or of another format version."""


class DeviceError(MemeguardError):
    """A device to compute on that this machine lacks."""


def detached(error: _E) -> _E:
    """Return ``error`` without its traceback and causes, to be kept: their frames hold whatever was being decoded."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)

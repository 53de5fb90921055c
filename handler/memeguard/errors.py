"""Errors with a meme or a bundle, in words for the person who sent it."""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar, TypeVar

_E = TypeVar("_E", bound=Exception)


class MemeguardError(Exception):
    """The root of all errors that a person can mend.

    The command line shows the message alone and ends with ``exit_status``.
    """

    exit_status: ClassVar[int] = 1


class MemeError(MemeguardError):
    """A meme that the model cannot answer.

    Attributes:
        code: A stable, machine-readable name of the reason.
        status: The HTTP status of the answer.
    """

    code: ClassVar[str]
    status: ClassVar[HTTPStatus]


class MissingPartError(MemeError):
    """The picture or the text is missing, or its type cannot be one."""

    code = "missing_part"
    status = HTTPStatus.BAD_REQUEST


class InvalidTextError(MemeError):
    """The text's bytes are not UTF-8."""

    code = "invalid_text"
    status = HTTPStatus.BAD_REQUEST


class TextTooLongError(MemeError):
    """The text has more tokens than the model is allowed to read."""

    code = "text_too_long"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedImageError(MemeError):
    """The bytes are not a picture in a supported format."""

    code = "unsupported_image"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class DamagedImageError(MemeError):
    """The picture is truncated or cannot be decoded for another reason."""

    code = "damaged_image"
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class ImageTooLargeError(MemeError):
    """The picture would decode to more pixels than allowed (a decompression bomb)."""

    code = "image_too_large"
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class SlowImageError(MemeError):
    """Decoding the picture takes longer than the limit for one meme."""

    code = "slow_image"
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class BusyError(MemeError):
    """The picture is large, and other large ones came at the same time; the client may send it again."""

    code = "busy"
    status = HTTPStatus.SERVICE_UNAVAILABLE


class BundleError(MemeguardError):
    """A bundle is damaged, incomplete, not made by memeguard, or of another format version."""


class DeviceError(MemeguardError):
    """This machine lacks the device that was asked for."""


def detached(error: _E) -> _E:
    """Return ``error`` without its traceback and causes: their frames would keep the decoded pixels in memory."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)

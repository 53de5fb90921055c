"""The pictures of a functional test: the cases' own, and backgrounds, which are pictures of the user's own.

A background should be harmless and say nothing by itself, such as the pictures that a platform sees every day.
"""

from __future__ import annotations

import functools
import os
import random
from typing import TYPE_CHECKING, Final, NamedTuple

from memeguard.errors import MemeError
from memeguard.preprocess import decode_image, resize_image
from memes.meme import DataError
from memes.picture_folder import read_folder
from memes.source import read_picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from evaluation.functional.cases import Suite

MAX_BACKGROUNDS: Final = 256  # more would cost time and hardly change the figures


class Picture(NamedTuple):
    """A picture that has not been opened: how an error names it, and what returns its bytes."""

    where: str
    read: Callable[[], bytes]

    def decode(self, size: int) -> NDArray[np.uint8]:
        """Pixels uint8 [3, size, size]; raises ``DataError``."""
        try:
            return resize_image(decode_image(self.read(), wanted_size=size), size)
        except OSError as error:
            raise DataError([f"{self.where}: unreadable picture: {error.strerror}"]) from error
        except MemeError as error:
            raise DataError([f"{self.where}: unreadable picture: {error}"]) from error


def find_own_pictures(suite: Suite) -> dict[str, Picture]:
    """The pictures that cases of ``suite`` have of their own, by name."""
    owners = {case.picture: case.where for case in reversed(suite.cases) if case.picture is not None}
    return {
        name: Picture(f"{where}, {name!r}", functools.partial(suite.read_picture, name))
        for name, where in owners.items()
    }


def find_backgrounds(folder: Path) -> list[Picture]:
    """The pictures in ``folder`` and below; of more than ``MAX_BACKGROUNDS``, the same random sample each time.

    Raises:
        DataError: The folder cannot be read or holds no picture.
    """
    try:
        memes = list(read_folder(folder).memes())
    except OSError as error:
        raise DataError([f"{folder}: unreadable folder: {error.strerror}"]) from error
    if not memes:
        raise DataError([f"{folder}: no pictures"])
    drawn = sorted(random.Random(0).sample(range(len(memes)), min(len(memes), MAX_BACKGROUNDS)))  # noqa: S311
    return [Picture(os.fsdecode(memes[index].path), functools.partial(read_picture, memes[index])) for index in drawn]

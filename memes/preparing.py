"""Decode memes for a model, in order and in several threads; every error names the row."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from tqdm import tqdm

from memeguard.errors import MemeError
from memeguard.torch_runtime import collate_memes
from memes.meme import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from memeguard.predictor import MemePreparer, PreparedMeme
    from memeguard.torch_runtime import TorchPredictor
    from memes.meme import Meme

DECODING_THREADS: Final = max(4, min(16, os.cpu_count() or 1))
_BATCH: Final = 32
_Item = TypeVar("_Item")


def encode_memes(predictor: TorchPredictor, memes: Sequence[PreparedMeme]) -> tuple[Tensor, Tensor]:
    """Features of one batch: of the pictures [B, D] and of the captions [B, D]."""
    pixels_BCHW, captions = collate_memes(memes, predictor.config.image, predictor.device)
    return predictor.classifier.encode_images(pixels_BCHW), predictor.classifier.encode_captions(captions)


def check_captions(preparer: MemePreparer, memes: Iterable[Meme]) -> None:
    """Raise one ``DataError`` that lists every caption with more tokens than the model reads."""
    row_errors = []
    for meme in memes:
        try:
            preparer.captions.encode(meme.text)
        except MemeError as error:
            row_errors.append(f"{meme.where}: {error}")
    if row_errors:
        raise DataError(row_errors)


def prepare_memes(preparer: MemePreparer, memes: Sequence[Meme], title: str) -> Iterator[PreparedMeme]:
    """Decode ``memes`` in order, several at once; ``title`` names the progress bar."""
    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        for batch in batches_of(memes, title):
            yield from pool.map(functools.partial(prepare_meme, preparer), batch)


def prepare_meme(preparer: MemePreparer, meme: Meme, picture: bytes | None = None) -> PreparedMeme:
    """Decode a meme; raises ``DataError``. ``picture`` is its bytes if they have been read already."""
    try:
        return preparer.prepare(read_picture(meme) if picture is None else picture, meme.text)
    except MemeError as error:  # the picture was fine when the data was checked
        raise DataError([f"{meme.where}: {error}"]) from error


def read_picture(meme: Meme) -> bytes:
    """Read the bytes of a meme's picture; raises ``DataError``."""
    try:
        return meme.read_picture()
    except OSError as error:
        raise DataError([f"{meme.where}: unreadable picture, {str(meme.image_path)!r}: {error.strerror}"]) from error


def batches_of(memes: Sequence[_Item], title: str) -> Iterator[Sequence[_Item]]:
    """Yield the memes, or parts of them, in batches of 32; ``title`` names the progress bar."""
    with tqdm(total=len(memes), desc=title, unit="meme", disable=None) as progress:
        for start in range(0, len(memes), _BATCH):
            batch = memes[start : start + _BATCH]
            yield batch
            progress.update(len(batch))

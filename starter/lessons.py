"""Compute the teachers' embeddings of each text and each crop once, and keep them in .npy files.

An interrupted run is resumed after the last chunk that it finished.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from memeguard.preprocess import decode_image, resize_image
from memeguard.regular_file import read_picture
from memes.atomic_file import write_whole
from starter.crops import draw_crop
from starter.student import PICTURE_SIZE
from starter.teachers import PICTURE_DIM, TEXT_DIM, PictureTeacher, SentenceTeacher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_BATCH: Final = 64
_BATCHES_AT_ONCE: Final = 32  # between two records of progress


_Chunk = TypeVar("_Chunk")


class TextLessons(NamedTuple):
    """Texts and their embeddings by the sentence teacher: float16 [N, ``TEXT_DIM``], of unit length."""

    texts: list[str]
    embeddings_ND: NDArray[np.float16]


class PictureLessons(NamedTuple):
    """Crops and their features by both teachers.

    Attributes:
        pixels_NCHW: Crops, uint8 [N, 3, size, size].
        features_ND: Features by the picture teacher, float16 [N, ``PICTURE_DIM``].
        named_N: Whether the picture of the crop has a name, bool [N].
        said_N: Row of ``sayings_MD`` that belongs to the crop's picture, int64 [N].
        sayings_MD: Embeddings by the sentence teacher of each picture's words, float16 [M, ``TEXT_DIM``].
    """

    pixels_NCHW: NDArray[np.uint8]
    features_ND: NDArray[np.float16]
    named_N: NDArray[np.bool_]
    said_N: NDArray[np.int64]
    sayings_MD: NDArray[np.float16]


@dataclass(frozen=True, kw_only=True)
class Illustrated:
    """A picture and how it is used.

    Attributes:
        path: File of the picture.
        saying: Words that belong to the picture.
        is_named: Whether these words describe the picture; a meme's caption does not.
        num_crops: Number of crops; the first of several is the whole picture.
    """

    path: Path
    saying: str
    is_named: bool
    num_crops: int


def write_text_lessons(folder: Path, texts: Sequence[str], teachers: Path) -> TextLessons:
    """Compute the sentence teacher's embeddings of all texts."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    chunks = [
        order[start : start + _BATCH * _BATCHES_AT_ONCE] for start in range(0, len(order), _BATCH * _BATCHES_AT_ONCE)
    ]
    shape = (len(texts), TEXT_DIM)
    notebook = _Notebook(folder, "texts", _fingerprint(texts), embeddings=(shape, np.float16))
    embeddings = notebook.arrays["embeddings"]
    teacher = None

    def ask(chunk: NDArray[np.int64]) -> None:
        nonlocal teacher
        teacher = teacher or SentenceTeacher(teachers)
        for start in range(0, len(chunk), _BATCH):
            rows = chunk[start : start + _BATCH]
            embeddings[rows] = teacher.embed([texts[row] for row in rows])

    notebook.fill(chunks, ask)
    return TextLessons(list(texts), embeddings)


def write_picture_lessons(folder: Path, pictures: Sequence[Illustrated], teachers: Path, seed: int) -> PictureLessons:
    """Compute the picture teacher's features of crops of all pictures, and the embeddings of the pictures' words."""
    num_crops = sum(picture.num_crops for picture in pictures)
    firsts = np.cumsum([0, *(picture.num_crops for picture in pictures)])
    notebook = _Notebook(
        folder,
        "pictures",
        _fingerprint(f"{seed} {picture.path.name} {picture.saying} {picture.num_crops}" for picture in pictures),
        pixels=((num_crops, 3, PICTURE_SIZE, PICTURE_SIZE), np.uint8),
        features=((num_crops, PICTURE_DIM), np.float16),
        sayings=((len(pictures), TEXT_DIM), np.float16),
    )
    pixels, features, sayings = notebook.arrays.values()
    teacher = sentence_teacher = None

    def ask(chunk: range) -> None:
        nonlocal teacher, sentence_teacher
        teacher = teacher or PictureTeacher(teachers)
        sentence_teacher = sentence_teacher or SentenceTeacher(teachers)
        sayings[chunk.start : chunk.stop] = sentence_teacher.embed([pictures[index].saying for index in chunk])
        for index in chunk:
            rng = random.Random(f"{seed} {index}")  # noqa: S311 - not a secret
            whole = decode_image(read_picture(pictures[index].path))
            crops = [whole, *(draw_crop(whole, rng) for _ in range(pictures[index].num_crops - 1))]
            rows = slice(firsts[index], firsts[index + 1])
            pixels[rows] = np.stack([resize_image(crop, PICTURE_SIZE) for crop in crops])
            features[rows] = teacher.embed(crops)

    chunks = [range(start, min(start + _BATCH, len(pictures))) for start in range(0, len(pictures), _BATCH)]
    notebook.fill(chunks, ask)
    said = np.repeat(np.arange(len(pictures)), [picture.num_crops for picture in pictures])
    named = np.array([picture.is_named for picture in pictures])[said]
    return PictureLessons(pixels, features, named, said, sayings)


class _Notebook:
    """Arrays in files, and how many chunks of them are computed."""

    def __init__(self, folder: Path, name: str, fingerprint: str, **arrays: tuple[tuple[int, ...], type]) -> None:
        """Open the arrays in ``folder``, or start again if they are of something else.

        Args:
            folder: Folder of the files, made if it is missing.
            name: Prefix of the files' names.
            fingerprint: Hash of everything that the arrays depend on.
            arrays: Shape and dtype of each array.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._name, self._fingerprint = name, fingerprint
        self._progress = folder / f"{name}.json"
        paths = {key: folder / f"{name}-{key}.npy" for key in arrays}
        progress = json.loads(self._progress.read_text()) if self._progress.exists() else {}
        known = progress.get("fingerprint") == fingerprint and all(path.exists() for path in paths.values())
        self._num_done: int = progress["num_done"] if known else 0
        if not known:
            self._progress.unlink(missing_ok=True)  # otherwise new arrays would pass for filled ones
        self.arrays = {
            key: np.lib.format.open_memmap(paths[key], **({"mode": "r+"} if known else
                                                         {"mode": "w+", "shape": shape, "dtype": dtype}))
            for key, (shape, dtype) in arrays.items()
        }  # fmt: skip

    def fill(self, chunks: Sequence[_Chunk], ask: Callable[[_Chunk], None]) -> None:
        """Call ``ask`` for each of ``chunks`` that is not done, and record the progress."""
        left = chunks[self._num_done :]
        title = f"embed {self._name}"
        for chunk in tqdm(left, desc=title, initial=self._num_done, total=len(chunks), disable=None):
            ask(chunk)
            for array in self.arrays.values():
                array.flush()
            self._num_done += 1
            progress = {"fingerprint": self._fingerprint, "num_done": self._num_done}
            write_whole(self._progress, json.dumps(progress).encode())


def _fingerprint(items: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in itertools.chain.from_iterable((item.encode(), b"\0") for item in items):
        digest.update(part)
    return digest.hexdigest()

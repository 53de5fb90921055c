"""Split captions into chunks of token ids, without truncation, and collate chunks into one padded batch.

Shape suffixes: N text chunks, T tokens.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from memeguard.errors import TextTooLongError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from memeguard.config import TextConfig

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CHARACTERS_PER_TOKEN = 64  # far more than any language needs; counting the tokens of megabytes would take seconds


class CaptionTokenizer:
    """A byte-pair tokenizer, and how many tokens the text tower reads at once."""

    def __init__(self, tokenizer: Tokenizer, config: TextConfig) -> None:
        # A caption with the letters "<|endoftext|>" means these letters, not the end of the text.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._config = config

    def count_tokens(self, text: str) -> int:
        """Count the tokens of ``text``, including the special ones (CLIP's own limit is 77)."""
        return len(self._ids(text)) + self._config.context_length - self._config.room

    def encode(self, text: str) -> list[list[int]]:
        """Split ``text`` into chunks of at most ``context_length`` ids, each with its special tokens.

        An empty text gives one chunk of the special tokens.

        Raises:
            TextTooLongError: The text needs more than ``max_chunks`` chunks.
        """
        room = self._config.room
        limit = room * self._config.max_chunks
        if len(text) > (longest := limit * _CHARACTERS_PER_TOKEN):
            raise TextTooLongError(f"text has {len(text)} characters; the limit is {longest}")
        ids = self._ids(text)
        if len(ids) > limit:
            raise TextTooLongError(f"text has {len(ids)} tokens; the limit is {limit}")
        chunks = [ids[start : start + room] for start in range(0, len(ids), room)] or [[]]
        return [frame_chunk(chunk, self._config) for chunk in chunks]

    def serialized(self) -> str:
        """The tokenizer as JSON, to compare tokenizers."""
        text: str = self._tokenizer.to_str()
        return text

    def _ids(self, text: str) -> list[int]:
        # Control characters, such as NUL, separate words as blanks do.
        ids: list[int] = self._tokenizer.encode(_CONTROL.sub(" ", text), add_special_tokens=False).ids
        return ids


def frame_chunk(ids: list[int], config: TextConfig) -> list[int]:
    """Add the special tokens and padding of a chunk to at most ``config.room`` ids."""
    chunk = [*ids, config.end_id] if config.start_id is None else [config.start_id, *ids, config.end_id]
    if config.pad_id is None:
        return chunk
    return chunk + [config.pad_id] * (config.context_length - len(chunk))


class CaptionBatch(NamedTuple):
    """The chunks of a batch of captions.

    Attributes:
        tokens_NT: Token ids, int64, padded on the right to the longest chunk.
        last_N: Position of each chunk's last token, int64.
        meme_N: Index of the meme each chunk belongs to, int64 in [0, num_memes).
        num_memes: B.
    """

    tokens_NT: NDArray[np.int64]
    last_N: NDArray[np.int64]
    meme_N: NDArray[np.int64]
    num_memes: int


def pad_tokens(tokens_NT: NDArray[np.int64], context_length: int, *, step: int) -> NDArray[np.int64]:
    """Pad on the right, behind the last token, to a multiple of ``step`` or to ``context_length``."""
    num_tokens = tokens_NT.shape[1]
    padded = min(-(-num_tokens // step) * step, context_length)
    return np.pad(tokens_NT, ((0, 0), (0, padded - num_tokens)))


def collate_captions(captions: list[list[list[int]]]) -> CaptionBatch:
    """Collate the chunks of several captions (``CaptionTokenizer.encode``) into one padded batch."""
    chunks = [chunk for caption in captions for chunk in caption]
    tokens_NT = np.zeros((len(chunks), max(map(len, chunks))), dtype=np.int64)
    for row, chunk in enumerate(chunks):
        tokens_NT[row, : len(chunk)] = chunk
    last_N = np.array([len(chunk) - 1 for chunk in chunks])
    meme_N = np.array([index for index, caption in enumerate(captions) for _ in caption])
    return CaptionBatch(tokens_NT, last_N, meme_N, len(captions))

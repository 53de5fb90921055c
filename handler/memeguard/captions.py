"""Turn a caption into chunks of CLIP token ids, none of them cut off.

Does not know how chunks are embedded or pooled.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from memeguard.errors import TextTooLongError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from memeguard.config import TextConfig

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CHARACTERS_PER_TOKEN = 64  # far more than any language needs; only counting the tokens of megabytes takes seconds


class CaptionTokenizer:
    """A byte-pair tokenizer and the room a text tower has."""

    def __init__(self, tokenizer: Tokenizer, config: TextConfig) -> None:
        # A caption that spells "<|endoftext|>" means those letters, not the end of the text.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._config = config

    def count_tokens(self, text: str) -> int:
        """Number of tokens in ``text``, the two special ones included (CLIP's own limit is 77)."""
        return len(self._ids(text)) + 2

    def encode(self, text: str) -> list[list[int]]:
        """Split ``text`` into chunks of at most ``context_length`` ids, each with its start and end token.

        An empty text gives one chunk of the two special tokens.

        Raises:
            TextTooLongError: More chunks than ``max_chunks``, or so many characters that nobody counts their tokens.
        """
        room = self._config.context_length - 2
        limit = room * self._config.max_chunks
        if len(text) > (longest := limit * _CHARACTERS_PER_TOKEN):
            raise TextTooLongError(f"text has {len(text)} characters; the limit is {longest}")
        ids = self._ids(text)
        if len(ids) > limit:
            raise TextTooLongError(f"text has {len(ids)} tokens; the limit is {limit}")
        chunks = [ids[start : start + room] for start in range(0, len(ids), room)] or [[]]
        return [[self._config.start_id, *chunk, self._config.end_id] for chunk in chunks]

    def serialized(self) -> str:
        """The tokenizer as JSON, for telling one from another."""
        text: str = self._tokenizer.to_str()
        return text

    def _ids(self, text: str) -> list[int]:
        # Control characters, NUL among them, are no words: they part words, as blanks do.
        ids: list[int] = self._tokenizer.encode(_CONTROL.sub(" ", text), add_special_tokens=False).ids
        return ids

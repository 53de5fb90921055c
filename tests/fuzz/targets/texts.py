"""Captions: bytes to text to the token ids of chunks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from memeguard.bundle_files import read_model_config, read_tokenizer
from memeguard.captions import CaptionTokenizer
from memeguard.errors import MemeError
from memeguard.predictor import decode_text
from tests.fuzz.oracles import InsaneAnswerError, Target

if TYPE_CHECKING:
    from collections.abc import Callable

_BUNDLE: Final = Path(__file__).parents[3] / "starter" / "bundle"


def _reader() -> Callable[[bytes], object]:
    tokenizer, config = read_tokenizer(_BUNDLE), read_model_config(_BUNDLE)
    captions, num_ids = CaptionTokenizer(tokenizer, config.text), tokenizer.get_vocab_size()

    def read(data: bytes) -> object:
        chunks = captions.encode(decode_text(data))
        for chunk in chunks:
            is_framed = chunk[0] == config.text.start_id and chunk[-1] == config.text.end_id
            if (
                not is_framed
                or len(chunk) > config.text.context_length
                or not all(0 <= each < num_ids for each in chunk)
            ):
                raise InsaneAnswerError(f"a chunk {chunk}")
            if config.text.end_id in chunk[1:-1] or config.text.start_id in chunk[1:-1]:
                raise InsaneAnswerError("a caption ends its own chunk")
        return chunks

    return read


def _seeds() -> list[bytes]:
    words = ("this has everything in common with your best friend", "<|endoftext|> <|startoftext|>", "it's WE'LL 12 3!")
    strange = ("\N{FACE WITH TEARS OF JOY}" * 9, "nul\0byte\r\n\t", "\u202ertl \u0627\u200d\ufe0f", "e\u0301\u0323" * 9)
    return [each.encode() for each in (*words, *strange)]


TARGETS: Final = {"texts": lambda: Target(run=_reader(), accepted=(MemeError,), seeds=_seeds, max_bytes=1024)}

"""Captions become chunks of token ids, with any characters. Nothing is cut off; too much is refused."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from memeguard.captions import CaptionTokenizer
from memeguard.config import TextConfig
from memeguard.errors import TextTooLongError

START, END = 1000, 1001
EMOJI = "\N{PILE OF POO}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}\N{VARIATION SELECTOR-16}"


@pytest.fixture(scope="module")
def byte_tokenizer() -> Tokenizer:
    """One token per byte, so that a test can count them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


@pytest.fixture(scope="module")
def captions(byte_tokenizer: Tokenizer) -> CaptionTokenizer:
    """Chunks of eight tokens and the two special ones, at most three of them."""
    return CaptionTokenizer(byte_tokenizer, TextConfig(context_length=10, start_id=START, end_id=END, max_chunks=3))


@pytest.mark.parametrize(("num_letters", "sizes"), [(1, [1]), (8, [8]), (9, [8, 1]), (16, [8, 8]), (24, [8, 8, 8])])
def test_a_text_fills_one_chunk_after_the_other(captions: CaptionTokenizer, num_letters: int, sizes: list[int]) -> None:
    chunks = captions.encode("x" * num_letters)
    assert [len(chunk) - 2 for chunk in chunks] == sizes
    assert captions.count_tokens("x" * num_letters) == num_letters + 2


@pytest.mark.parametrize("text", ["a short one", "just eighteen char", "the whole of 24 letters.", EMOJI])
def test_chunks_together_are_the_whole_text(captions: CaptionTokenizer, byte_tokenizer: Tokenizer, text: str) -> None:
    chunks = captions.encode(text)
    assert {(chunk[0], chunk[-1]) for chunk in chunks} == {(START, END)}
    assert [token for chunk in chunks for token in chunk[1:-1]] == byte_tokenizer.encode(text).ids


def test_an_empty_text_is_one_chunk_of_the_special_tokens(captions: CaptionTokenizer) -> None:
    assert captions.encode("") == [[START, END]]
    assert captions.count_tokens("") == 2


@pytest.mark.parametrize("control", ["\0", "\t", "\n", "\r", "\x1b", "\x7f"])
def test_control_characters_part_words_as_blanks_do(captions: CaptionTokenizer, control: str) -> None:
    assert captions.encode(f"no{control}way") == captions.encode("no way")


def test_a_text_over_the_limit_is_refused_with_both_numbers(captions: CaptionTokenizer) -> None:
    with pytest.raises(TextTooLongError, match="text has 25 tokens; the limit is 24"):
        captions.encode("x" * 25)


def test_megabytes_are_refused_before_their_tokens_are_counted(
    captions: CaptionTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captions, "_ids", lambda text: pytest.fail(f"counted {len(text)} characters"))
    with pytest.raises(TextTooLongError, match="text has 1000000 characters; the limit is 1536"):
        captions.encode("x" * 1_000_000)

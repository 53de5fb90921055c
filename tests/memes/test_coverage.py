"""What check-data says of a tokenizer: which scripts it loses, and which it writes byte by byte."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from click.testing import CliRunner
from tokenizers import Tokenizer, models, pre_tokenizers

from cli.main import main
from memes.coverage import format_coverage, measure_coverage
from tests.backbone_folders import CONTEXT, make_chinese_clip
from training.backbones import load_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

TAMIL, GREEK = "\u0ba8\u0bc0 \u0bb5\u0bbe " * 5, "\u03b1\u03b2\u03b3 " * 5


def make_word_tokenizer() -> Tokenizer:
    words = {"[UNK]": 0, "a": 1, "cat": 2, "\u03b1\u03b2\u03b3": 3}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def test_scripts_that_become_unknown_tokens_are_counted() -> None:
    coverage = measure_coverage([f"a cat {TAMIL}", GREEK, "", "a dog 7!"], make_word_tokenizer(), 0)
    assert (coverage.num_tokens, coverage.num_unknown_tokens) == (2 + 10 + 5 + 4, 10 + 3)
    found = {script.script: (script.num_characters, script.num_unknown, script.num_in_pieces)
             for script in coverage.scripts}  # fmt: skip
    assert found == {"Tamil": (20, 20, 0), "Greek": (15, 0, 0), "Latin": (8, 3, 0)}


def test_the_report_names_what_cannot_be_written() -> None:
    lines = format_coverage(measure_coverage([f"a cat {TAMIL}", GREEK], make_word_tokenizer(), 0)).splitlines()
    assert lines[0] == "unknown tokens: 10 of 17 (58.8%)"
    assert [line for line in lines if "Tamil: 100% of 20 characters are unknown tokens" in line]
    assert "Greek" not in "".join(lines)


def test_bytes_are_told_from_letters() -> None:
    """A byte-level tokenizer loses nothing, but takes three tokens for a Tamil letter."""
    coverage = measure_coverage([f"a cat {TAMIL}"], load_tokenizer("tiny", ["a cat"] * 3), None)
    found = {script.script: script for script in coverage.scripts}
    assert found["Tamil"].num_in_pieces == found["Tamil"].num_characters == 20
    assert found["Latin"].num_in_pieces == coverage.num_unknown_tokens == 0
    assert "Tamil: 100% of 20 characters take several tokens each" in format_coverage(coverage)


def test_no_captions_have_no_unknown_tokens() -> None:
    assert format_coverage(measure_coverage([], make_word_tokenizer(), 0)) == "unknown tokens: 0 of 0 (0.0%)"


def test_check_data_counts_as_the_backbone_does(demo_folder: Path, tmp_path: Path) -> None:
    make_chinese_clip(tmp_path / "chinese")
    arguments = ["check-data", str(demo_folder), "--backbone", str(tmp_path / "chinese")]
    done = CliRunner().invoke(main, arguments)
    assert f"> {CONTEXT} tokens" in done.output
    assert "unknown tokens: 0 of " in done.output
    report = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert (report["max_tokens"], report["coverage"]["num_unknown_tokens"]) == (CONTEXT, 0)
    assert report["coverage"]["scripts"][0]["script"] == "Latin"

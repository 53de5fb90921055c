"""docs/cli.md says what the commands say."""

from __future__ import annotations

import shlex
import subprocess
import sys

from cli.main import main
from cli.reference import format_reference
from tests.docs.pages import REPOSITORY, find_block, read_text


def test_the_reference_is_what_the_commands_say() -> None:
    words = shlex.split(find_block("run: reference").code)
    assert words[0] == ".venv/bin/python"
    assert words[-2:] == [">", "docs/cli.md"]
    done = subprocess.run(
        [sys.executable, *words[1:-2]], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=30
    )
    assert read_text("docs/cli.md") == done.stdout, "write it anew: python -m cli.reference > docs/cli.md"


def test_every_command_has_an_example_of_its_own() -> None:
    sections = format_reference().split("\n## memeguard ")[1:]
    assert len(sections) == len(main.commands)
    for section in sections:
        name = section.split("\n", 1)[0]
        assert f"Example: memeguard {name}" in section

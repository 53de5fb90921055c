"""The fenced blocks of README.md and the guides, and what the comment above each says of how it is run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]
PAGES: Final = (
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{path.name}" for path in sorted((REPOSITORY / "docs").glob("*.md"))),
    "benchmarks/README.md",
    "starter/README.md",
    "starter/MODEL_CARD.md",
)
SHOWN: Final = frozenset({"text", "json"})  # what a command prints, or a drawing
_BLOCK: Final = re.compile(r"^(?:<!-- ([^\n]+) -->\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block.

    Attributes:
        page: The file, relative to the repository.
        line: Where it stands.
        language: What follows the opening fence.
        how: The comment above it, such as ``run: server``; empty where there is none.
        code: What stands inside.
    """

    page: str
    line: int
    language: str
    how: str
    code: str

    @property
    def is_step(self) -> bool:
        """Whether it is a step of its page, to be run after those before it."""
        return not self.how and self.language not in SHOWN

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read_text(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def read_blocks(page: str) -> list[Block]:
    text = read_text(page)
    return [_make_block(page, text, found) for found in _BLOCK.finditer(text)]


def _make_block(page: str, text: str, found: re.Match[str]) -> Block:
    how, language, code = found.groups()
    return Block(page=page, line=text.count("\n", 0, found.start()) + 1, language=language, how=how or "", code=code)


def find_blocks(how: str) -> list[Block]:
    """Every block with this comment above it; there is at least one."""
    blocks = [block for page in PAGES for block in read_blocks(page) if block.how == how]
    assert blocks, f"no page has a block marked <!-- {how} -->"
    return blocks


def find_block(how: str) -> Block:
    """The only block with this comment above it."""
    [block] = find_blocks(how)
    return block

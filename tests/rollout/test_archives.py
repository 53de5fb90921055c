"""The archives of a model store are found and the default is chosen; what TorchServe would skip is refused by name."""

from __future__ import annotations

import hashlib
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rollout.archives import ModelStoreError, choose_default, find_archives, holds_archive, make_snapshot

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {
    "minWorkers": 1,
    "maxWorkers": 2,
    "batchSize": 8,
    "maxBatchDelay": 5,
    "responseTimeout": 30,
    "startupTimeout": 120,
}


def add_archive(store: Path, version: str, *, holds: Any = ..., config: Any = ..., compression: int = 0) -> Path:
    """A stand-in archive with its card: manifest and configuration are all that is read."""
    manifest = {"model": {"modelName": "meme", "modelVersion": version}} if holds is ... else holds
    settings = {**SETTINGS, "deviceType": "cpu", "memeguard": {"max_pixels": 1}} if config is ... else config
    path = store / f"meme-{version}.mar"
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        file.writestr("model-config.yaml", settings if isinstance(settings, str) else yaml.safe_dump(settings))
    write_card(path)
    return path


def write_card(path: Path, **changes: Any) -> None:
    card = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **changes}
    path.with_suffix(".json").write_text(json.dumps(card), "utf-8")


def test_versions_are_sorted_as_numbers(tmp_path: Path) -> None:
    for version in ("1.10.0", "1.9.0", "0.20.3", "2.0.0", "1.9.10"):
        add_archive(tmp_path, version)
    archives = find_archives(tmp_path)
    assert [archive.version for archive in archives] == ["0.20.3", "1.9.0", "1.9.10", "1.10.0", "2.0.0"]
    assert [archive.file_name for archive in archives][:2] == ["meme-0.20.3.mar", "meme-1.9.0.mar"]
    assert archives[0].settings == SETTINGS


def test_what_is_no_archive_of_a_version_is_ignored(tmp_path: Path) -> None:
    add_archive(tmp_path, "1.0.0")
    for name in (
        "meme-1.0.1.json",
        "meme.mar",
        "meme-1.0.mar",
        "other-1.0.0.mar",
        "meme-1.0.0.mar.tmp",
        "meme-1.0.\u0663.mar",
    ):
        (tmp_path / name).write_text("not for TorchServe", "utf-8")
    (tmp_path / ".meme-1.1.0.x").mkdir()
    assert [archive.version for archive in find_archives(tmp_path)] == ["1.0.0"]


def test_an_empty_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelStoreError, match=r"holds no meme-<version>\.mar"):
        find_archives(tmp_path)


def test_a_store_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "missing"):
        with pytest.raises(ModelStoreError, match=f"{name} is not a folder"):
            find_archives(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip at all"])
def test_a_file_that_is_no_zip_is_named(tmp_path: Path, content: bytes) -> None:
    add_archive(tmp_path, "1.0.0")
    (tmp_path / "meme-1.1.0.mar").write_bytes(content)
    write_card(tmp_path / "meme-1.1.0.mar")
    with pytest.raises(ModelStoreError, match=r"meme-1\.1\.0\.mar is damaged"):
        find_archives(tmp_path)


def test_a_folder_with_the_name_of_an_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "meme-1.0.0.mar").mkdir()
    with pytest.raises(ModelStoreError, match=r"meme-1\.0\.0\.mar cannot be read: Is a directory"):
        find_archives(tmp_path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("place", [b"MAR-INF/MANIFEST.json", b"model-config.yaml"])
def test_damage_inside_is_noticed(tmp_path: Path, place: bytes, compression: int) -> None:
    path = add_archive(tmp_path, "1.0.0", compression=compression)
    data = bytearray(path.read_bytes())
    start = data.index(place) + len(place)
    data[start : start + 12] = b"\xff" * 12
    path.write_bytes(data)
    write_card(path)
    with pytest.raises(ModelStoreError, match=r"meme-1\.0\.0\.mar is damaged"):
        find_archives(tmp_path)


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "meme-1.0.0.mar", "w") as file:
        file.writestr("holiday.jpg", b"")
    write_card(tmp_path / "meme-1.0.0.mar")
    with pytest.raises(ModelStoreError, match=r"damaged: .*MANIFEST\.json"):
        find_archives(tmp_path)


@pytest.mark.parametrize("manifest", [[], None, "meme", {}, {"model": None}, {"model": "meme"}, {"model": {}}])
def test_a_foreign_manifest_is_refused(tmp_path: Path, manifest: object) -> None:
    add_archive(tmp_path, "1.0.0", holds=manifest)
    with pytest.raises(ModelStoreError, match=r"archive .*meme-1\.0\.0\.mar"):
        find_archives(tmp_path)


def test_an_archive_under_another_versions_name_is_refused(tmp_path: Path) -> None:
    add_archive(tmp_path, "1.0.0").rename(tmp_path / "meme-1.0.1.mar")
    write_card(tmp_path / "meme-1.0.1.mar")
    with pytest.raises(ModelStoreError, match=r"meme-1\.0\.1\.mar holds version '1\.0\.0', not 1\.0\.1"):
        find_archives(tmp_path)


@pytest.mark.parametrize("value", ["8", 1.5, None, True, [1]])
def test_a_setting_that_is_no_number_is_named(tmp_path: Path, value: object) -> None:
    add_archive(tmp_path, "1.0.0", config={**SETTINGS, "batchSize": value})
    with pytest.raises(ModelStoreError, match=r"meme-1\.0\.0\.mar: batchSize is .* in model-config\.yaml"):
        find_archives(tmp_path)


@pytest.mark.parametrize("missing", SETTINGS)
def test_a_missing_setting_is_named(tmp_path: Path, missing: str) -> None:
    add_archive(tmp_path, "1.0.0", config={name: value for name, value in SETTINGS.items() if name != missing})
    with pytest.raises(ModelStoreError, match=f"{missing} is None"):
        find_archives(tmp_path)


@pytest.mark.parametrize("config", ["", "just words", "- a\n- b\n", "a: ["])
def test_a_configuration_of_another_shape_is_refused(tmp_path: Path, config: str) -> None:
    add_archive(tmp_path, "1.0.0", config=config)
    with pytest.raises(ModelStoreError, match=r"archive .*meme-1\.0\.0\.mar"):
        find_archives(tmp_path)


def test_a_configuration_runs_no_code(tmp_path: Path) -> None:
    add_archive(tmp_path, "1.0.0", config=f"!!python/object/apply:os.mkdir [{tmp_path / 'made'}]")
    with pytest.raises(ModelStoreError, match="could not determine a constructor"):
        find_archives(tmp_path)
    assert not (tmp_path / "made").exists()


def test_the_newest_version_is_the_default(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0"):
        add_archive(tmp_path, version)
    archives = find_archives(tmp_path)
    assert choose_default(archives).version == "1.10.0"
    assert choose_default(archives[::-1]).version == "1.10.0"
    assert choose_default(archives, "1.9.0").version == "1.9.0"


def test_a_default_that_is_not_there_is_refused_with_what_is(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0"):
        add_archive(tmp_path, version)
    with pytest.raises(ModelStoreError, match=r"default version 1\.9 is not .* it holds 1\.9\.0, 1\.10\.0"):
        choose_default(find_archives(tmp_path), "1.9")


def test_the_snapshot_names_every_version_and_the_default_first(tmp_path: Path) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        add_archive(tmp_path, version)
    archives = find_archives(tmp_path)
    snapshot = json.loads(make_snapshot(archives, archives[1]))
    assert snapshot["name"] == "startup.cfg"
    assert snapshot["modelCount"] == 3
    assert list(snapshot["models"]) == ["meme"]
    versions = snapshot["models"]["meme"]
    assert list(versions) == ["1.1.0", "1.0.0", "1.2.0"]
    assert [entry["defaultVersion"] for entry in versions.values()] == [True, False, False]
    assert versions["1.2.0"] == {"defaultVersion": False, "marName": "meme-1.2.0.mar", **SETTINGS}


def test_the_snapshot_is_one_line_of_ascii(tmp_path: Path) -> None:
    """It becomes one line of a .properties file."""
    add_archive(tmp_path, "1.0.0")
    archives = find_archives(tmp_path)
    snapshot = make_snapshot(archives, archives[0])
    assert snapshot.isascii()
    assert "\n" not in snapshot


def test_a_store_holds_an_archive_only_if_one_would_be_served(tmp_path: Path) -> None:
    assert not holds_archive(tmp_path / "missing")
    (tmp_path / "meme-latest.mar").touch()
    (tmp_path / "meme-1.0.0.json").touch()
    assert not holds_archive(tmp_path)
    (tmp_path / "meme-1.0.0.mar").touch()
    assert holds_archive(tmp_path)

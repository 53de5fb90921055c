"""The short form of ``make audit``: all of it but the advisories, which need a network."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.audit import advisories, jars, licences
from tests.audit.__main__ import run_bandit

if TYPE_CHECKING:
    from pathlib import Path


def test_bandit_finds_nothing() -> None:
    done = run_bandit()
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_runtime_package_has_a_licence_that_was_agreed_to() -> None:
    assert {"torch", "flask", "torchserve", "pillow"} <= licences.runtime_packages().keys()
    assert licences.find_disallowed() == {}


@pytest.mark.parametrize("licence", ["GPL-3.0-only", "MIT AND AGPL-3.0", "", "Proprietary"])
def test_a_licence_that_was_not_agreed_to(licence: str) -> None:
    assert not licences.is_allowed(licence)


def test_the_installed_jar_is_the_one_the_table_is_about() -> None:
    assert jars.find_differences() == []


def test_each_hole_has_a_reason() -> None:
    holes = [hole for library in jars.read_table()["libraries"] for hole in library["holes"]]
    assert len({hole["id"] for hole in holes}) > 10
    assert {hole["reachable"] for hole in holes} <= {"no", "local"}
    assert all(len(hole["why"]) > 10 for hole in holes)


def test_another_jar_fails_the_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = tmp_path / "model-server.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("com/evil/Main.class", b"")
        archive.writestr("META-INF/io.netty.versions.properties", "netty-handler.version=4.2.0.Final\n")
        archive.writestr("io/grpc/internal/GrpcUtil.class", b"\x011.99.0\x01")
    monkeypatch.setattr(jars, "installed_jars", lambda: [jar])
    differences = "\n".join(jars.find_differences())
    for words in ("sha256", "com.evil", "netty is 4.2.0.Final", "gRPC is 1.99.0"):
        assert words in differences


def test_what_pip_audit_says_is_read() -> None:
    report = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": [{"id": "X-1"}]},
            {"name": "b", "version": "2", "vulns": []},
        ]
    }
    assert advisories.read_answer(json.dumps(report), "") == ({"a 1": ["X-1"]}, "")
    assert advisories.read_answer("", "ERROR: no route\n").unreachable == "ERROR: no route"


def test_a_mirror_without_advisories_is_not_taken_for_a_clean_bill() -> None:
    report = {"dependencies": [{"name": "a", "skip_reason": "not found: a"}]}
    assert "not found: a" in advisories.read_answer(json.dumps(report), "").unreachable

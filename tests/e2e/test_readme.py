"""Requests to a running server, as README.md and docs/serve.md show them, are answered as they say."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import Block, find_block, find_blocks
from tests.e2e.conftest import MEMEGUARD, REPOSITORY, Server, archive, copy_archive, serving

if TYPE_CHECKING:
    from pathlib import Path

MEME = REPOSITORY / "docs" / "meme.png"


def adapt(code: str, server: Server) -> str:
    """Send a block's requests to ``server``, which listens on other ports."""
    for port, name in (("5000", "port"), ("8080", "inference-port"), ("8081", "management-port")):
        code = code.replace(f"localhost:{port}", f"127.0.0.1:{server.ports[name]}")
    return code.replace("run/key_file.json", str(server.run_dir / "key_file.json"))


def shell(script: str, server: Server) -> list[str]:
    """Run ``script`` against ``server``; return the output of each curl, in order."""
    script = adapt(script, server).replace(".venv/bin/python", sys.executable)
    script = script.replace("curl ", "curl -sS --fail-with-body ").replace("\ncurl", "\necho @; curl")
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [output.strip() for output in done.stdout.split("@\n") if output.strip()]


def test_the_ready_line_has_a_curl_that_works(server: Server) -> None:
    assert "prediction" in json.loads(shell(server.ready_line.removeprefix("ready: "), server)[0])


@pytest.mark.parametrize("block", find_blocks("run: server"), ids=str)
def test_a_request_of_a_guide_is_answered(block: Block, server: Server) -> None:
    if block.language == "sh":
        assert all(json.loads(answer) for answer in shell(block.code, server))
        return
    assert block.language == "python"
    code = adapt(block.code, server)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "ffensive" in done.stdout


def test_a_refusal_says_what_the_guide_says(server: Server) -> None:
    script = adapt(find_block("run: refusal").code, server)
    done = subprocess.run(["bash", "-c", script], cwd=REPOSITORY, capture_output=True, check=True, timeout=60)
    answer, expected = json.loads(done.stdout), json.loads(find_block("refusal").code)
    assert len(answer.pop("request_id")) == 32
    assert answer == {name: value for name, value in expected.items() if name != "request_id"}


def test_versions_change_through_the_management_api(
    bundle_folder: Path, store: Path, tmp_path: Path, short_tmp: Path
) -> None:
    own = tmp_path / "store"
    own.mkdir()
    copy_archive(store, own)
    with serving([MEMEGUARD, "serve", f"--model-store={own}"], tmp_path / "run", short_tmp) as server:
        assert server.predict(MEME.read_bytes(), "hello").json()["version"] == "0.1.0"
        archive(bundle_folder, "0.2.0", own)

        registered, default, scaled, listing, direct, retired, *_ = shell(find_block("run: manage").code, server)

        assert "registered" in registered
        assert "0.2.0" in default
        assert "2" in scaled
        versions = {each["modelVersion"]: each for each in json.loads(listing)}
        assert versions.keys() == {"0.1.0", "0.2.0"}
        assert [worker["status"] for worker in versions["0.2.0"]["workers"]] == ["READY"] * 2
        assert json.loads(direct)["version"] == "0.1.0"
        assert "unregistered" in retired
        assert (own / "meme-0.1.0.mar").exists()
        # The management token was renewed by the last command; the proxy's own is untouched.
        assert server.predict(MEME.read_bytes(), "hello").json()["version"] == "0.2.0"
        assert server.manage("GET", "/models/meme/all").status_code == 200

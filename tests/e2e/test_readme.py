"""The README's commands do what it says."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.e2e.conftest import MEMEGUARD, REPOSITORY, Server, copy_archive, readme_block, run_memeguard, serving


def shell(script: str, server: Server) -> list[str]:
    """Run README commands against ``server``; return the output of each, in order."""
    for port, name in (("5000", "port"), ("8080", "inference-port"), ("8081", "management-port")):
        script = script.replace(f"localhost:{port}", f"127.0.0.1:{server.ports[name]}")
    script = script.replace("run/key_file.json", str(server.run_dir / "key_file.json"))
    script = script.replace(".venv/bin/", f"{Path(MEMEGUARD).parent}/").replace("curl ", "curl -sS --fail-with-body ")
    script = script.replace("\ncurl", "\necho @; curl")
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [output.strip() for output in done.stdout.split("@\n") if output.strip()]


def test_the_ready_line_has_a_curl_that_works(server: Server) -> None:
    assert "prediction" in json.loads(shell(server.ready_line.removeprefix("ready: "), server)[0])


def test_versions_change_through_the_management_api(demo: Path, tmp_path: Path, short_tmp: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    copy_archive(demo, store)
    with serving([MEMEGUARD, "serve", f"--model-store={store}"], tmp_path / "run", short_tmp) as server:
        assert server.predict((REPOSITORY / "docs/meme.png").read_bytes(), "hello").json()["version"] == "0.1.0"
        done = run_memeguard("archive", demo / "bundle", "--version", "0.2.0", "--model-store", store)
        assert done.returncode == 0, done.stderr

        registered, default, scaled, listing, direct, retired, *_ = shell(readme_block("manage"), server)

        assert "registered" in registered
        assert "0.2.0" in default
        assert "2" in scaled
        versions = {each["modelVersion"]: each for each in json.loads(listing)}
        assert versions.keys() == {"0.1.0", "0.2.0"}
        assert [worker["status"] for worker in versions["0.2.0"]["workers"]] == ["READY"] * 2
        assert json.loads(direct)["version"] == "0.1.0"
        assert "unregistered" in retired
        assert (store / "meme-0.1.0.mar").exists()
        # The management token was renewed by the last command; the proxy's own is untouched.
        assert server.predict((REPOSITORY / "docs/meme.png").read_bytes(), "hello").json()["version"] == "0.2.0"
        assert server.manage("GET", "/models/meme/all").status_code == 200


def test_commands_have_help_with_an_example() -> None:
    for command in (
        "check-data",
        "demo-data",
        "train",
        "sweep",
        "evaluate",
        "ablate",
        "archive",
        "score",
        "starter",
        "demo",
        "serve",
        "torchserve",
    ):
        done = run_memeguard(command, "--help")
        assert done.returncode == 0
        assert f"Example: memeguard {command}" in done.stdout


def test_training_on_memes_of_ones_own(demo_folder: Path, clip_folder: Path, tmp_path: Path) -> None:
    """The README's block as it stands, but with small data, a local folder for the hub's CLIP, and no server."""
    done = run_block(
        "train",
        tmp_path,
        {
            "make serve\n": "",
            "data/mine": f"{demo_folder}",
            "openai/clip-vit-base-patch32": f"{clip_folder}",
            "bundles/mine": f"{tmp_path / 'bundle'}",
            "--version 1.0.0": f"--version 1.0.0 --model-store {tmp_path / 'store'}",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "store" / "meme-1.0.0.mar").exists()
    assert any((tmp_path / "cache" / "memeguard").glob("*.sqlite"))


def test_sweeping_the_default_settings(demo_folder: Path, clip_folder: Path, tmp_path: Path) -> None:
    """As it stands, but for one epoch each."""
    done = run_block(
        "sweep",
        tmp_path,
        {
            "data/mine": f"{demo_folder}",
            "openai/clip-vit-base-patch32": f"{clip_folder}",
            "sweeps/mine": f"{tmp_path / 'sweep'} --epochs 1",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads((tmp_path / "sweep" / "leaderboard.json").read_text())["configurations"]) == 27
    assert (tmp_path / "sweep" / "winner" / "model.safetensors").exists()


def test_scoring_a_folder(demo_folder: Path, bundle_folder: Path, tmp_path: Path) -> None:
    """As it stands, but for the names."""
    memes, out = next(demo_folder.glob("Labelled Images")), tmp_path / "verdicts.csv"
    changes = {"data/mine/img": f"'{memes}'", "bundles/mine": f"{bundle_folder}"}
    done = run_block("score", tmp_path, changes)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(out.read_text("utf-8").splitlines()) == 1 + len(list(memes.iterdir()))
    assert json.loads((tmp_path / "verdicts.csv.json").read_text())["errors"] == {}


def run_block(name: str, folder: Path, changes: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a block of the README in ``folder`` with ``changes``, each of which has to apply."""
    block = readme_block(name)
    for old, new in {".venv/bin/memeguard": f"{MEMEGUARD}", **changes}.items():
        assert old in block
        block = block.replace(old, new)
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        ["bash", "-e", "-c", block], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )

"""Backbones from the hub, seen from outside: what is fetched, what is believed, and what is said when it fails.

The hub is one of our own on loopback; backbones are loaded in other processes, from which nothing can leave the
machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import pty
import shutil
import termios
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import load_file, save_file

from memeguard.config import CLIP_MEAN
from tests.training.hub import Hub, Repository, commit_of
from tests.training.hub_loader import Loader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPENAI = "openai/clip-vit-base-patch32"
OPENAI_COMMIT = "c237dc49a33fc61debc9276459120b7eac67e7ef"
WEIGHTS, INDEX, PICKLE = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
CODE = b"raise SystemExit('the code of a repository ran')\n"


@pytest.fixture(scope="module")
def files(clip_folder: Path) -> dict[str, bytes]:
    """Of a CLIP whose weights are safetensors."""
    return {path.name: path.read_bytes() for path in clip_folder.iterdir()}


@pytest.fixture(scope="module")
def other_weights(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("other") / WEIGHTS
    save_file({name: tensor + 1 for name, tensor in load_file(clip_folder / WEIGHTS).items()}, path, {"format": "pt"})
    return path.read_bytes()


@pytest.fixture(scope="module")
def hub(files: dict[str, bytes], other_weights: bytes, shards: dict[str, bytes]) -> Iterator[Hub]:
    pickled = {**without(files, WEIGHTS), PICKLE: b"never to be read"}
    hijacked = {**pickled, WEIGHTS: other_weights}
    hijack = Repository.of(pickled, conversion="refs/pr/1")
    hijack.trees["a" * 40], hijack.refs["refs/pr/1"] = hijacked, "a" * 40
    openai = Repository.of(pickled, conversion="refs/pr/200")
    openai.trees[OPENAI_COMMIT] = {**pickled, WEIGHTS: files[WEIGHTS]}
    openai.trees["b" * 40], openai.refs["refs/pr/200"] = hijacked, "b" * 40
    tagged = Repository.of(files)
    tagged.refs["v1"] = next(iter(tagged.trees))
    tagged.move({**files, WEIGHTS: other_weights})
    auto_map = {"AutoConfig": "code.Config", "AutoModel": "code.Model", "AutoTokenizer": ["code.Tokenizer", None]}
    coded = {name: add(files[name], auto_map=auto_map) for name in ("config.json", "tokenizer_config.json")}
    code = {"code.py": CODE, "modeling_clip.py": CODE}
    with Hub(
        {
            "test/safe": Repository.of(files),
            "test/words": Repository.of(files),
            "test/moves": Repository.of(files),
            "test/changes": Repository.of(files),
            "test/damaged": Repository.of(files),
            "test/tagged": tagged,
            "test/sharded": Repository.of({**without(files, WEIGHTS), **shards}),
            "test/lacks-shard": Repository.of({**without(files, WEIGHTS), INDEX: shards[INDEX]}),
            "test/hijack": hijack,
            OPENAI: openai,
            "test/gated": Repository.of(files, is_gated=True),
            "test/limited": Repository.of(files, refusal=(429, "")),
            "test/broken": Repository.of(files, refusal=(418, "")),
            "test/dies": Repository.of(files, dies_after=1000),
            "test/code": Repository.of({**files, **coded, **code}),
            "test/plain": Repository.of(without(files, "preprocessor_config.json")),
            "test/vit": Repository.of({**files, "config.json": add(files["config.json"], model_type="vit")}),
            "test/wordless": Repository.of(without(files, "vocab.json", "merges.txt", "tokenizer_config.json")),
            "test/evil": Repository.of({**files, "preprocessor_config.json": b'{"image_mean": "evil"}'}),
            "test/leaves": Repository.of(
                {**without(files, WEIGHTS), INDEX: b'{"weight_map": {"a": "../x.safetensors"}}'}
            ),
        }
    ) as served:
        yield served


@pytest.fixture(scope="module")
def shards(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("shards")
    tensors = load_file(clip_folder / WEIGHTS)
    parts: dict[str, dict[str, Any]] = {}
    for number, (name, tensor) in enumerate(sorted(tensors.items())):
        parts.setdefault(f"model-0000{number % 2 + 1}-of-00002.safetensors", {})[name] = tensor
    for file, part in parts.items():
        save_file(part, folder / file, {"format": "pt"})
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    return {INDEX: json.dumps(index).encode(), **{file: (folder / file).read_bytes() for file in parts}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def loader(hub: Hub, home: Path) -> Iterator[Loader]:
    """Connected to the hub."""
    with Loader(hub.url, home) as started:
        yield started


def without(files: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name not in names}


def add(content: bytes, **members: Any) -> bytes:
    return json.dumps({**json.loads(content), **members}).encode()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def recorded(home: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((home / "cache" / "memeguard" / "backbones.json").read_text("utf-8"))
    return record


def test_a_repository_is_loaded_at_the_commit_of_main(
    hub: Hub, loader: Loader, files: dict[str, bytes], home: Path
) -> None:
    loaded = loader.load("test/safe")
    commit = commit_of(files)
    assert loaded["name"] == f"test/safe@{commit}"
    assert loaded["commit"] == commit
    assert loaded["weights_sha256"] == digest(files[WEIGHTS])
    assert loaded["mean"] == [0.1, 0.2, 0.3]
    seen = recorded(home)[f"test/safe@{commit}"]
    assert (seen["sha256"], seen["num_bytes"]) == (digest(files[WEIGHTS]), len(files[WEIGHTS]))
    fetched = hub.files_fetched("test/safe")
    assert fetched[-1] == WEIGHTS  # the dear file last
    assert set(fetched) <= {*files, "processor_config.json"}


def test_what_is_kept_is_not_fetched_again(hub: Hub, loader: Loader) -> None:
    loader.load("test/safe")
    hub.requests.clear()
    loader.load("test/safe")
    assert hub.requests == ["GET /api/models/test/safe/revision/main"]


def test_a_commit_that_is_kept_is_loaded_without_a_request(hub: Hub, loader: Loader, files: dict[str, bytes]) -> None:
    loader.load("test/safe")
    hub.requests.clear()
    assert loader.load(f"test/safe@{commit_of(files)}")["commit"] == commit_of(files)
    assert not hub.requests


def test_a_tag_and_a_branch_are_the_commits_they_name(
    loader: Loader, files: dict[str, bytes], other_weights: bytes
) -> None:
    assert loader.load("test/tagged@v1")["weights_sha256"] == digest(files[WEIGHTS])
    assert loader.load("test/tagged@main")["weights_sha256"] == digest(other_weights)


def test_main_may_move(hub: Hub, loader: Loader, files: dict[str, bytes], other_weights: bytes, home: Path) -> None:
    before = loader.load("test/moves")
    hub.repositories["test/moves"].move({**files, WEIGHTS: other_weights})
    after = loader.load("test/moves")
    assert (before["weights_sha256"], after["weights_sha256"]) == (digest(files[WEIGHTS]), digest(other_weights))
    assert {before["name"], after["name"]} <= set(recorded(home))
    assert loader.load(before["name"])["weight"] == before["weight"]


def test_shards_are_loaded_as_the_whole(hub: Hub, loader: Loader, shards: dict[str, bytes]) -> None:
    loaded = loader.load("test/sharded")
    assert loaded["weight"] == loader.load("test/safe")["weight"]
    listing = "".join(f"{digest(shards[name])}  {name}\n" for name in sorted(set(shards) - {INDEX}))
    assert loaded["weights_sha256"] == digest(listing.encode())


def test_a_pull_request_is_never_taken(hub: Hub, loader: Loader) -> None:
    refusal = loader.refusal("test/hijack")
    assert "test/hijack has no safetensors at main" in refusal
    assert "A pull request with safetensors is not used by itself" in refusal
    asked = [request for request in hub.requests if "test/hijack" in request]
    assert not [request for request in asked if "discussions" in request or "commits" in request or "a" * 40 in request]
    assert PICKLE not in hub.files_fetched("test/hijack")


def test_a_pull_request_that_is_named_is_taken(loader: Loader, other_weights: bytes) -> None:
    loaded = loader.load("test/hijack@refs/pr/1")
    assert (loaded["commit"], loaded["weights_sha256"]) == ("a" * 40, digest(other_weights))


def test_openais_clip_has_a_commit_of_its_own(hub: Hub, loader: Loader, files: dict[str, bytes]) -> None:
    hub.requests.clear()
    loaded = loader.load(OPENAI)
    assert (loaded["commit"], loaded["weights_sha256"]) == (OPENAI_COMMIT, digest(files[WEIGHTS]))
    assert all(f"/{OPENAI}/resolve/{OPENAI_COMMIT}/" in request for request in hub.requests)
    assert f"{OPENAI} has no safetensors at main" in loader.refusal(f"{OPENAI}@main")


def test_the_code_of_a_repository_does_not_run(hub: Hub, loader: Loader) -> None:
    assert loader.load("test/code")["weight"] == loader.load("test/safe")["weight"]
    assert not [name for name in hub.files_fetched("test/code") if name.endswith(".py")]


def test_without_a_preprocessing_it_is_clips(loader: Loader) -> None:
    assert loader.load("test/plain")["mean"] == list(CLIP_MEAN)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test/vit", "is a 'vit'; it must be one of clip, "),
        ("test/wordless", "has no tokenizer"),
        ("test/evil", "image_mean is 'evil'; it must be three numbers"),
    ],
)
def test_weights_are_not_fetched_for_what_is_refused_anyway(hub: Hub, loader: Loader, name: str, reason: str) -> None:
    assert reason in loader.refusal(name)
    assert WEIGHTS not in hub.files_fetched(name)


def test_a_tokenizer_is_loaded_without_the_weights(hub: Hub, loader: Loader, files: dict[str, bytes]) -> None:
    assert loader.load_tokenizer("test/words")["num_tokens"] == len(json.loads(files["vocab.json"]))
    assert WEIGHTS not in hub.files_fetched("test/words")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test/gated", "test/gated is gated: accept its licence at http://127.0.0.1"),
        ("test/absent", "has no repository test/absent that you may read; if it is private, set the environment"),
        ("test/safe@nowhere", "test/safe has no branch, tag or commit 'nowhere'"),
        ("test/safe@" + "0" * 40, "test/safe has no branch, tag or commit '000"),
        ("test/safe@", "a branch, tag or commit must follow the @"),
        ("test/limited", "limits the rate of requests (429): try again later"),
        ("test/broken", "answered with status 418"),
        ("test/dies", "broke (RemoteProtocolError): run the same command again; what was downloaded is kept"),
        ("test/lacks-shard", "it has no model-00001-of-00002.safetensors, which model.safetensors.index.json lists"),
        ("test/leaves", "model.safetensors.index.json must list 1 to 100 names of .safetensors files"),
    ],
)
def test_an_error_names_its_cause(loader: Loader, name: str, reason: str) -> None:
    refusal = loader.refusal(name)
    assert refusal.startswith(f"backbone {name} cannot be loaded: ")
    assert reason in refusal
    assert "\n" not in refusal


def test_other_weights_of_a_known_commit_are_refused(
    hub: Hub, loader: Loader, files: dict[str, bytes], other_weights: bytes, home: Path
) -> None:
    name = loader.load("test/changes")["name"]
    hub.repositories["test/changes"].trees[commit_of(files)] = {**files, WEIGHTS: other_weights}
    shutil.rmtree(home / ".cache" / "huggingface" / "hub" / "models--test--changes", ignore_errors=True)
    shutil.rmtree(home / "cache" / "huggingface" / "hub" / "models--test--changes", ignore_errors=True)
    refusal = loader.refusal("test/changes")
    assert refusal.startswith(f"backbone {name} has other weights than before")
    assert digest(files[WEIGHTS]) in refusal
    assert digest(other_weights) in refusal


def test_a_damaged_download_is_refused(loader: Loader, files: dict[str, bytes], home: Path) -> None:
    loader.load("test/damaged")
    (link,) = home.glob(f"**/models--test--damaged/snapshots/*/{WEIGHTS}")
    link.resolve().write_bytes(files[WEIGHTS][:-1] + bytes([files[WEIGHTS][-1] ^ 1]))
    refusal = loader.refusal("test/damaged")
    assert "is damaged: its sha256 is" in refusal
    assert f"the hub said {digest(files[WEIGHTS])}" in refusal


def test_a_download_is_announced_with_its_size(loader: Loader, files: dict[str, bytes]) -> None:
    loader.load("test/safe")
    size = f"{len(files[WEIGHTS]) / 1e6:.1f} MB"
    assert f"downloading test/safe@{commit_of(files)[:12]}: {WEIGHTS}, {size}\n" in loader.said
    assert "%|" not in loader.said  # no bar where there is no terminal


def test_a_download_shows_its_progress_on_a_terminal(hub: Hub, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    try:
        with Loader(hub.url, tmp_path, stderr=theirs) as fresh:
            fresh.load("test/safe")
            said = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert f"{WEIGHTS}: 100%|" in said


def test_what_is_kept_is_enough_where_the_hub_is_forbidden(hub: Hub, loader: Loader, home: Path) -> None:
    names = ("test/safe", "test/sharded", "test/plain", OPENAI)
    expected = [loader.load(name) for name in names]
    hub.requests.clear()
    with Loader(hub.url, home, HF_HUB_OFFLINE="1") as offline:
        assert [offline.load(name) for name in names] == expected
        refusal = offline.refusal("test/never-seen")
    assert "test/never-seen is not complete in this machine's cache, and HF_HUB_OFFLINE forbids" in refusal
    assert not hub.requests


def test_what_is_kept_is_enough_without_a_network(loader: Loader, home: Path) -> None:
    names = ("test/safe", "test/sharded", "test/plain", OPENAI)
    expected = [loader.load(name) for name in names]
    with Loader("http://127.0.0.1:9", home) as cut_off:
        assert [cut_off.load(name) for name in names] == expected
        refusal = cut_off.refusal("test/never-seen")
    assert "is not complete in this machine's cache, and the hub http://127.0.0.1:9 cannot be reached" in refusal


def test_a_cache_that_another_program_filled_is_enough(hub: Hub, loader: Loader, tmp_path: Path) -> None:
    for name in (f"{OPENAI}@{OPENAI_COMMIT}", "test/sharded@main"):
        loader.fill_cache(name, tmp_path / "cache" / "huggingface" / "hub")
    with Loader(hub.url, tmp_path, HF_HUB_OFFLINE="1") as offline:
        assert offline.load(OPENAI)["commit"] == OPENAI_COMMIT
        assert "weight" in offline.load("test/sharded")

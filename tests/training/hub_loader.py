"""Loads backbones in a process of its own, as its standard input asks; from which nothing can leave the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

_NOBODY = "http://127.0.0.1:9"  # a proxy that is not there


class Loader:
    """A process whose hub is ``url`` and whose home is the folder ``home``."""

    def __init__(self, url: str, home: Path, *, stderr: int | None = None, **environment: str) -> None:
        home.mkdir(exist_ok=True)
        self.stderr_path = home / f"stderr-{time.monotonic_ns()}"
        inherited = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
        proxies = {"HTTP_PROXY": _NOBODY, "HTTPS_PROXY": _NOBODY, "NO_PROXY": "127.0.0.1"}
        places = {"HOME": str(home), "HF_ENDPOINT": url, "XDG_CACHE_HOME": str(home / "cache")}
        with self.stderr_path.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.training.hub_loader"],
                env={**inherited, **proxies, **places, "HF_HUB_DOWNLOAD_TIMEOUT": "5", **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file if stderr is None else stderr,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    @property
    def said(self) -> str:
        """What came on stderr."""
        return self.stderr_path.read_text("utf-8")

    def load(self, name: str) -> dict[str, Any]:
        """What came of loading the backbone called ``name``."""
        return self._ask("load", name)

    def refusal(self, name: str) -> str:
        """The error that loading the backbone called ``name`` ends with."""
        answer = self._ask("load", name)
        assert list(answer) == ["error"], answer
        return str(answer["error"])

    def load_tokenizer(self, name: str) -> dict[str, Any]:
        """What came of loading a tokenizer."""
        return self._ask("tokenizer", name)

    def fill_cache(self, name: str, folder: Path) -> dict[str, Any]:
        """Download all of ``REPOSITORY@REVISION`` into ``folder``, as other programs do."""
        return self._ask("fill", name, str(folder))

    def _ask(self, *words: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _load(name: str) -> dict[str, Any]:
    from training.backbones import load_backbone  # noqa: PLC0415 - not into the process of the tests

    backbone = load_backbone(name, [])
    weight = backbone.clip.visual_projection.weight
    return {**backbone.source._asdict(), "mean": backbone.image.mean, "weight": weight.flatten()[0].item()}


def _load_tokenizer(name: str) -> dict[str, Any]:
    from training.backbones import load_tokenizer  # noqa: PLC0415

    return {"num_tokens": load_tokenizer(name, []).get_vocab_size()}


def _fill_cache(name: str, folder: str) -> dict[str, Any]:
    from huggingface_hub import snapshot_download  # noqa: PLC0415

    repo, _, revision = name.partition("@")
    return {"folder": snapshot_download(repo, revision=revision, cache_dir=folder)}


def _main() -> None:
    from training.backbones import BackboneError  # noqa: PLC0415

    jobs: dict[str, Callable[..., dict[str, Any]]] = {
        "load": _load,
        "tokenizer": _load_tokenizer,
        "fill": _fill_cache,
    }
    time.sleep = lambda _: None  # type: ignore[assignment] # the hub's library waits between tries
    for line in sys.stdin:
        job, *words = json.loads(line)
        try:
            answer = jobs[job](*words)
        except BackboneError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _main()

"""Archives of a model store, and the cards beside them."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rollout.archives import ModelStoreError, choose_default, find_archives, make_snapshot
from tests.fuzz.mutations import make_zip, mutate_json, mutate_zip, splice_number
from tests.fuzz.oracles import InsaneAnswerError, Target

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_MANIFEST: Final = json.dumps({"model": {"modelName": "meme", "modelVersion": "1.0.0"}, "runtime": "python"}).encode()
_CONFIG: Final = (
    b"minWorkers: 1\nmaxWorkers: 1\nbatchSize: 16\nmaxBatchDelay: 1\nresponseTimeout: 30\nstartupTimeout: 120\n"
    b"memeguard:\n  runtime: auto\n"
)
_MEMBERS: Final = [("MAR-INF/MANIFEST.json", _MANIFEST), ("model-config.yaml", _CONFIG), ("meme_handler.py", b"pass\n")]
_YAML_PIECES: Final = (
    b"&a ",
    b"*a",
    b"[*a,*a,*a,*a,*a,*a,*a,*a]",
    b"!!python/object:os.system ",
    b"\n",
    b": ",
    b"- ",
    b"1e9",
)


class _Store:
    """A model store of one archive, rewritten for each input."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz-mar-"))

    def read(self, archive: bytes, card: bytes | None) -> object:
        (self._folder / "meme-1.0.0.mar").write_bytes(archive)
        if card is not None:
            (self._folder / "meme-1.0.0.json").write_bytes(card)
        found = find_archives(self._folder)
        snapshot = make_snapshot(found, choose_default(found))
        [settings] = json.loads(snapshot)["models"]["meme"].values()
        if not all(type(settings[name]) is int for name in ("minWorkers", "maxWorkers", "batchSize")):
            raise InsaneAnswerError(f"TorchServe is told {settings}")
        if not 1 <= settings["minWorkers"] <= settings["maxWorkers"]:
            raise InsaneAnswerError(f"TorchServe is told to run {settings['minWorkers']} workers")
        return snapshot

    def clean_up(self) -> None:
        shutil.rmtree(self._folder)


def _card(archive: bytes) -> bytes:
    return json.dumps({"version": "1.0.0", "sha256": hashlib.sha256(archive).hexdigest()}).encode()


def _mutate_archive(data: bytes, engine: Callable[[bytes], bytes], chance: random.Random) -> bytes:
    def change_yaml(content: bytes) -> bytes:
        if chance.random() < 0.3:
            return engine(content)
        lines = content.split(b"\n")
        index = chance.randrange(len(lines))
        name = lines[index].partition(b":")[0]
        value = chance.choice(
            (b"0", b"-1", b"null", b"true", b"1.5", b"99999999999999999999", b"[]", b".nan", *_YAML_PIECES)
        )
        lines[index] = name + b": " + value
        return b"\n".join(lines)

    changes = {
        "MAR-INF/MANIFEST.json": functools.partial(mutate_json, engine=engine, chance=chance),
        "model-config.yaml": change_yaml,
    }
    return mutate_zip(data, engine, chance, changes)


def _mutate_card(data: bytes, engine: Callable[[bytes], bytes], chance: random.Random) -> bytes:
    return splice_number(data, chance) if chance.random() < 0.2 else mutate_json(data, engine, chance)


def _archive_seeds() -> list[bytes]:
    bomb = _CONFIG + b"a: &a [1,1]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]\n"
    return [
        make_zip(_MEMBERS),
        make_zip(_MEMBERS, compressed=False),
        make_zip([*_MEMBERS[:1], ("model-config.yaml", bomb)]),
    ]


def _archives() -> Target:
    store = _Store()
    return Target(
        # The right card beside it, or nothing behind the checksum would be read.
        run=lambda data: store.read(data, _card(data)),
        accepted=(ModelStoreError,),
        seeds=_archive_seeds,
        mutate=_mutate_archive,
        clean_up=store.clean_up,
    )


def _cards() -> Target:
    store, archive = _Store(), make_zip(_MEMBERS)
    seeds: list[Any] = [_card(archive), json.dumps({"sha256": "0" * 64}).encode(), b"[]", b"{}"]
    return Target(
        run=lambda data: store.read(archive, data),
        accepted=(ModelStoreError,),
        seeds=lambda: seeds,
        mutate=_mutate_card,
        max_bytes=1024,
        clean_up=store.clean_up,
    )


TARGETS: Final = {"archives": _archives, "cards": _cards}

"""Check an archive before it is served: its hash against its card, its members against limits.

Nothing is unpacked, and every read is bounded.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import zipfile
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from rollout.store_files import ModelStoreError, open_stored

if TYPE_CHECKING:
    from pathlib import Path

MAX_ARCHIVE_BYTES = 2**34
MAX_CARD_BYTES = 4 * 2**20
MAX_MEMBER_BYTES = 64 * 2**10  # of a manifest or a configuration; other members are not read here
MAX_MEMBERS = 10_000
MAX_UNPACKED_BYTES = 2**34
MAX_EXPANSION = 20  # unpacked size divided by the archive's own; weights hardly compress
_FREE_EXPANSION_BYTES = 2**26  # every archive may unpack to this size
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MANIFEST = "MAR-INF/MANIFEST.json"
CONFIG = "model-config.yaml"


def verify_hash(path: Path, file: IO[bytes], store: Path, *, allow_missing: bool = False) -> tuple[str, bool]:
    """Compare the archive with its card, the JSON file beside it.

    Args:
        path: The archive's path.
        file: The archive, open for reading.
        store: The model store.
        allow_missing: Accept an archive without a card.

    Returns:
        The archive's sha256, and whether a card confirms it.

    Raises:
        ModelStoreError: The card is missing or unreadable, or the hashes differ.
    """
    card = path.with_suffix(".json")
    found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type] # a raw file has readinto
    if not os.path.lexists(card):
        if allow_missing:
            return found, False
        raise ModelStoreError(
            f"archive {path} has no card {card.name} to verify it by (its sha256 is {found}); put the card beside it, "
            "or serve it unverified with --allow-unverified"
        )
    expected = _read_sha256(card, store)
    if found != expected:
        raise ModelStoreError(
            f"archive {path} differs from its card: its sha256 is {found}, {card.name} says {expected}"
        )
    return found, True


def _read_sha256(card: Path, store: Path) -> str:
    with open_stored(card, store, max_bytes=MAX_CARD_BYTES) as file:
        content = file.read()
    try:
        sha256 = json.loads(content)["sha256"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelStoreError(f"card {card} is damaged: {error!r}") from error
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ModelStoreError(f"card {card} is damaged: its sha256 is {sha256!r:.80}, not 64 hexadecimal digits")
    return sha256


def read_members(path: Path, file: IO[bytes]) -> tuple[Any, bytes]:
    """Return the archive's manifest, parsed, and its ``model-config.yaml``, as bytes.

    Raises:
        ModelStoreError: The archive is damaged, or exceeds a limit.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _check_members(path, archive, os.fstat(file.fileno()).st_size)
            manifest = json.loads(_read_member(path, archive, _MANIFEST))
            config = _read_member(path, archive, CONFIG)
            _check_handler(path, archive, manifest)
    except Exception as error:  # zipfile, zlib and json raise many kinds
        if isinstance(error, ModelStoreError) and str(path) in str(error):
            raise
        raise ModelStoreError(f"archive {path} is damaged: {error!r}") from error
    return manifest, config


def _check_members(path: Path, archive: zipfile.ZipFile, num_bytes: int) -> None:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise ModelStoreError(f"archive {path} has {len(members)} members; the limit is {MAX_MEMBERS}")
    total = sum(member.file_size for member in members)
    limit = min(MAX_UNPACKED_BYTES, max(_FREE_EXPANSION_BYTES, MAX_EXPANSION * num_bytes))
    if total > limit:
        raise ModelStoreError(f"archive {path} unpacks to {total} bytes; the limit for {num_bytes} bytes is {limit}")
    names = set()
    for member in members:
        name = PurePosixPath(member.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in member.filename:
            raise ModelStoreError(f"archive {path} has a member that leaves its folder, {member.filename!r:.200}")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise ModelStoreError(f"archive {path} has a member that is a link, {member.filename!r:.200}")
        if str(name) in names:
            raise ModelStoreError(f"archive {path} has the member {member.filename!r:.200} twice")
        names.add(str(name))


def _check_handler(path: Path, archive: zipfile.ZipFile, manifest: Any) -> None:  # noqa: ANN401 - any JSON
    """Refuse a handler outside the archive, which TorchServe would run; TorchServe itself refuses a missing one."""
    handler = manifest["model"].get("handler")
    if handler is not None and handler.partition(":")[0] not in archive.namelist():
        raise ModelStoreError(f"archive {path}: its manifest names {handler!r:.80} as handler, which is not a member")


def _read_member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size <= MAX_MEMBER_BYTES:
        with archive.open(name) as file:
            return file.read(MAX_MEMBER_BYTES + 1)  # beyond the end, so that zipfile compares the checksum
    raise ModelStoreError(f"archive {path}: {name} has {size} bytes; the limit is {MAX_MEMBER_BYTES}")

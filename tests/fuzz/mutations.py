"""Change inputs so that their structure survives: what follows a wrong checksum is never read."""

from __future__ import annotations

import io
import itertools
import json
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_NUMBERS: Final = (0, 1, 2, 7, 8, 255, 256, 4096, 20_000, 32_767, 65_535, 2**31 - 1, 2**31, 2**32 - 1)
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNK_BYTES: Final = 12  # length, kind and checksum
_ODD_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, -1, 0, 1, 2**63, 10**400, 1e308, float("nan"), float("inf"), 0.5, "", "evil", "\ud800", "\0"),
    *([], {}, [[]], [None] * 3, ["a"] * 3, [float("nan")] * 3, [1e-320] * 3, {"a": {"b": []}}),
)


def splice_number(data: bytes, chance: random.Random) -> bytes:
    """Write a number that tends to break readers over a random place."""
    layout = chance.choice(("<B", "<H", ">H", "<I", ">I"))
    size = struct.calcsize(layout)
    if len(data) < size:
        return data
    number = struct.pack(layout, chance.choice(_NUMBERS) % 256**size)
    start = chance.randrange(len(data) - size + 1)
    return data[:start] + number + data[start + size :]


def change_pieces(pieces: list[bytes], chance: random.Random, change: Callable[[bytes], bytes]) -> list[bytes]:
    """Change, repeat, drop or move one of ``pieces``."""
    pieces = list(pieces)
    if not pieces:
        return pieces
    index = chance.randrange(len(pieces))
    action = chance.randrange(8)
    if action == 0:
        pieces.insert(chance.randrange(len(pieces) + 1), pieces[index])
    elif action == 1:
        del pieces[index]
    elif action == 2:
        pieces.insert(chance.randrange(len(pieces)), pieces.pop(index))
    else:
        pieces[index] = change(pieces[index])
    return pieces


def mutate_picture(data: bytes, engine: Callable[[bytes], bytes], chance: random.Random) -> bytes:
    """Change a picture; chunks of a PNG and of a RIFF get right lengths, and the former right checksums."""

    def change(piece: bytes) -> bytes:
        return splice_number(piece, chance) if chance.random() < 0.5 else engine(piece)

    if data.startswith(_PNG):
        return _PNG + b"".join(_png_chunk(piece) for piece in change_pieces(_png_pieces(data), chance, change))
    if data.startswith(b"RIFF") and len(data) >= 12:
        changed = change(data[12:])
        return b"RIFF" + struct.pack("<I", len(changed) + 4) + data[8:12] + changed
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd8" + b"".join(change_pieces(_jpeg_pieces(data[2:]), chance, change))
    return change(data)


def mutate_json(data: bytes, engine: Callable[[bytes], bytes], chance: random.Random) -> bytes:
    """Replace, remove or add a member somewhere in a JSON document; or leave the bytes to the engine."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return engine(data)
    if chance.random() < 0.2:
        return engine(data)
    holder, key = _pick(document, chance)
    if holder is None:
        return json.dumps(chance.choice(_ODD_VALUES)).encode()
    action = chance.randrange(6)
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder, dict):
        holder[chance.choice(("evil", "", "auto_map", str(key).upper()))] = chance.choice(_ODD_VALUES)
    else:
        holder[key] = chance.choice(_ODD_VALUES)
    return json.dumps(document).encode("utf-8", "replace")


def mutate_zip(
    data: bytes, engine: Callable[[bytes], bytes], chance: random.Random, changes: dict[str, Callable[[bytes], bytes]]
) -> bytes:
    """Change a member of a zip archive, by ``changes`` where its name is known; or leave the bytes to the engine."""
    if chance.random() < 0.2:
        return splice_number(data, chance) if chance.random() < 0.5 else engine(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:  # noqa: BLE001 - it is damaged already
        return engine(data)
    if not members:
        return engine(data)
    index = chance.randrange(len(members))
    name, content = members[index]
    action = chance.randrange(8)
    if action == 0:
        del members[index]
    elif action == 1:
        members.append((name, content))
    elif action == 2:
        members[index] = (chance.choice(("../evil", "/evil", "a\0b", name.lower(), "x" * 300)), content)
    else:
        members[index] = (name, changes.get(name, engine)(content))
    return make_zip(members, compressed=chance.random() < 0.5)


def make_zip(members: list[tuple[str, bytes]], *, compressed: bool = True) -> bytes:
    """A zip archive of ``members``, in which a name may come twice."""
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            # writestr warns of a name that is there already; the second entry is what is wanted here
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.NameToInfo.pop(info.filename, None)
            archive.writestr(info, content)
    return buffer.getvalue()


def _png_pieces(data: bytes) -> list[bytes]:
    """The chunks of a PNG, each as its kind and its data."""
    pieces, start = [], len(_PNG)
    while start + _PNG_CHUNK_BYTES <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        pieces.append(data[start + 4 : min(start + 8 + length, len(data) - 4)])
        start += _PNG_CHUNK_BYTES + length
    return pieces


def _png_chunk(piece: bytes) -> bytes:
    return struct.pack(">I", max(0, len(piece) - 4)) + piece + struct.pack(">I", zlib.crc32(piece))


def _jpeg_pieces(data: bytes) -> list[bytes]:
    """The marker segments of a JPEG, each with the entropy-coded bytes that follow it."""
    starts = [place for place in range(1, len(data) - 1) if data[place] == 0xFF and data[place + 1] >= 0xC0]
    return [data[start:end] for start, end in itertools.pairwise([0, *starts, len(data)])]


def _pick(document: Any, chance: random.Random) -> tuple[Any, Any]:
    """A random place in a document: what holds it, and its key or index there."""
    holder, key = None, None
    while isinstance(document, dict | list) and document and (holder is None or chance.random() < 0.75):
        holder = document
        key = chance.choice(list(document)) if isinstance(document, dict) else chance.randrange(len(document))
        document = document[key]
    return holder, key

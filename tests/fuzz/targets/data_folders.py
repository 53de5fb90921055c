"""Data folders: the first byte of an input chooses the layout, the rest is its list of training memes."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memes.meme import DataError, Label
from memes.reading import data_hash, read_splits
from tests.fuzz.mutations import change_pieces, mutate_json, splice_number
from tests.fuzz.oracles import InsaneAnswerError, Target

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

# Where the training memes of each layout are listed, and what an honest file holds.
_LAYOUTS: Final = (
    ("train.csv", 'image_path,text,label\na.png,a caption,1\nb/c.png,"two\nlines, quoted",0\n'),
    (
        "train.jsonl",
        '{"id": 1, "img": "img/1.png", "text": "words", "label": 1}\n{"img": "img/2.png", "text": "", "label": 0}\n',
    ),
    (
        "Split Dataset/Training_meme_dataset.csv",
        "image_name,sentence,label\na.png,a caption,offensive\nb.jpg,x,Non-offensiv\n",
    ),
    ("train.jsonl", '{"id": "m", "image": "m.png", "labels": ["not harmful"], "text": "a caption"}\n'),
    ("training.csv", "file_name\tmisogynous\tText Transcription\n1.jpg\t1\ta caption\n"),
)
_FOLDERS: Final = ("img", "images", "Labelled Images")
_PIECES: Final = (
    b'"',
    b'""',
    b",",
    b"\t",
    b";",
    b"\r",
    b"\n",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"..",
    b"/etc/passwd",
    b"nan",
)


def _reader(folder: Path) -> Callable[[bytes], object]:
    for name in _FOLDERS:
        (folder / name).mkdir()

    def read(data: bytes) -> object:
        listing = folder / _LAYOUTS[data[0] % len(_LAYOUTS) if data else 0][0]
        listing.parent.mkdir(exist_ok=True)
        listing.write_bytes(data[1:])
        try:
            splits = read_splits(folder, required=("train",), others=False, verify_images=False)
            memes = list(splits["train"])
            data_hash(folder)
        finally:
            listing.unlink()
            if listing.parent != folder:
                listing.parent.rmdir()
        for meme in memes:
            meme.text.encode()
            if not isinstance(meme.label, Label) or not meme.image_path.resolve().is_relative_to(folder.resolve()):
                raise InsaneAnswerError(f"a meme {meme}")
        return [(meme.image_path.name, meme.text, meme.label, meme.row) for meme in memes]

    return read


def _mutate(data: bytes, engine: Callable[[bytes], bytes], chance: random.Random) -> bytes:
    head, body = data[:1] or b"\0", data[1:]
    if chance.random() < 0.1:
        head = bytes([chance.randrange(len(_LAYOUTS))])

    def change(line: bytes) -> bytes:
        action = chance.randrange(4)
        if action == 0:
            return engine(line)
        if action == 1:
            return mutate_json(line, engine, chance)
        if action == 2:
            return splice_number(line, chance)
        start = chance.randrange(len(line) + 1)
        return line[:start] + chance.choice(_PIECES) + line[start:]

    return head + b"\n".join(change_pieces(body.split(b"\n"), chance, change))


def _seeds() -> list[bytes]:
    rows = [bytes([number]) + content.encode() for number, (_, content) in enumerate(_LAYOUTS)]
    nested = json.dumps({"img": "a.png", "text": "x", "label": 0, "more": [[[[]]]]}).encode()
    return [*rows, b"\0" + b"\xef\xbb\xbf" + rows[0][1:], b"\1" + nested]


def _target() -> Target:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-data-"))
    return Target(
        run=_reader(folder),
        accepted=(DataError,),
        seeds=_seeds,
        mutate=_mutate,
        clean_up=lambda: shutil.rmtree(folder),
    )


TARGETS: Final = {"data": _target}

"""The memes that are sent, real ones if a data set is given and drawn ones otherwise, and the requests made of them.

No two requests of a cell hold the same bytes, so that no cache answers: each picture is followed by bytes of its own,
which decoders do not read.
"""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from demo.drawing import draw_demo_memes
from memes.reading import read_split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_BOUNDARY = b"memeguard-benchmark-boundary"
_WORDS = ("nobody", "expects", "this", "to", "have", "anything", "in", "common", "with", "your", "whole", "family")


class SentMeme(NamedTuple):
    """A picture's bytes and its caption."""

    image: bytes
    text: str


def read_memes(data: Path | None, num: int) -> list[SentMeme]:
    """Read at most ``num`` memes of the train split in ``data``, shuffled; draw them if ``data`` is None."""
    if data is None:
        return [SentMeme(image, text) for image, text, _ in draw_demo_memes(num - num % 4 or 4, seed=0)]
    memes = read_split(data, "train", verify_images=False)
    chosen = random.Random(0).sample(range(len(memes)), min(num, len(memes)))
    return [SentMeme(memes[index].image_path.read_bytes(), memes[index].text) for index in chosen]


def make_picture(side: int) -> bytes:
    """Draw a JPEG of ``side`` x ``side`` pixels with as much detail as a photograph; ``side`` is the seed."""
    rough = Image.frombytes("RGB", (48, 48), random.Random(side).randbytes(48 * 48 * 3))
    buffer = io.BytesIO()
    rough.resize((side, side), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def make_caption(num_words: int) -> str:
    """Join ``num_words`` common words."""
    return " ".join(_WORDS[index % len(_WORDS)] for index in range(num_words))


def make_requests(
    memes: Sequence[SentMeme], path: str, headers: Mapping[str, str], *, cell: str, distinct: bool = True
) -> Callable[[int], bytes]:
    """Return a function that makes the n-th request of a cell.

    Args:
        memes: Sent in turn; ``cell`` decides which one is first, so that every server gets the same.
        path: The server's path for predictions.
        headers: Sent with each request, such as a key.
        cell: The cell's name, which marks its requests.
        distinct: Whether each request has bytes of its own; False repeats the memes as they are.
    """
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    lines.append(f"Content-Type: multipart/form-data; boundary={_BOUNDARY.decode()}")
    head = "\r\n".join(lines).encode() + b"\r\nContent-Length: %d\r\n\r\n"
    first = random.Random(cell).randrange(len(memes))

    def make(number: int) -> bytes:
        meme = memes[(first + number) % len(memes)]
        mark = f"\0{cell} {number}".encode() if distinct else b""
        body = encode_form(meme.image + mark, meme.text)
        return head % len(body) + body

    return make


def encode_form(image: bytes, text: str) -> bytes:
    """Encode the body of a form as ``curl -F image=@meme.jpg -F text=…`` sends it."""
    return b"".join(
        (
            b"--" + _BOUNDARY + b"\r\n",
            b'Content-Disposition: form-data; name="image"; filename="meme.jpg"\r\nContent-Type: image/jpeg\r\n\r\n',
            image,
            b"\r\n--" + _BOUNDARY + b"\r\n",
            b'Content-Disposition: form-data; name="text"\r\n\r\n',
            text.encode(),
            b"\r\n--" + _BOUNDARY + b"--\r\n",
        )
    )

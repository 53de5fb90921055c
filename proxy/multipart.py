"""Take a multipart/form-data body apart, in memory.

Does not know which parts make a meme. Flask's own parser is not used because it spools large files to a temporary
file, replaces invalid UTF-8 silently and hides repeated fields.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from werkzeug.sansio.multipart import (
    BLANK_LINE_RE,
    Data,
    Epilogue,
    Event,
    Field,
    File,
    MultipartDecoder,
    State,
)

from proxy.problems import Problem
from proxy.transfer_encoding import decode_part

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

# Unquoted boundaries with characters that only a quoted one may have (= / : ? and so on) come from real clients, and
# werkzeug's parser cuts them off there.
_PARAMETER = re.compile(r';\s*([^=;\s"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))')
_ENDINGS = {
    State.PREAMBLE: "the boundary that the content type declares does not occur in the body",
    State.PART: "a part's headers are broken, or the body is cut off within them",
}
MAX_PARTS = 64
MAX_BOUNDARY_BYTES = 200  # RFC 2046, section 5.1.1, says 70; not every client keeps to it
MAX_HEADERS_BYTES = 8 * 1024  # of one part; as much as gunicorn allows a request's header field


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a form: a file if it came with a file name, even an empty one, else a plain field."""

    name: str
    is_file: bool
    data: bytes


def parse_boundary(content_type: str) -> bytes:
    """Return the boundary a multipart/form-data content type declares.

    Raises:
        Problem: 400 if there is none, or it is not ASCII, or too long.
    """
    boundaries = (_value(match) for match in _PARAMETER.finditer(content_type) if match[1].lower() == "boundary")
    boundary = next(boundaries, "")
    if not boundary or not boundary.isascii() or not boundary.isprintable():
        raise _malformed("the content type multipart/form-data declares no usable boundary")
    if len(boundary) > MAX_BOUNDARY_BYTES:
        raise _malformed(f"the boundary has {len(boundary)} characters; the limit is {MAX_BOUNDARY_BYTES}")
    return boundary.encode("ascii")


def read_parts(chunks: Iterable[bytes], *, boundary: bytes, wanted: Collection[str]) -> list[Part]:
    """Return the parts named in ``wanted``, in the order they were sent; the content of others is dropped.

    Args:
        chunks: The body, in pieces; it is held in memory until it is complete.
        boundary: What stands between the parts.
        wanted: Names worth keeping. A name sent twice yields two parts.

    Raises:
        Problem: 400 if the body is not a complete multipart document, or its parts or their headers exceed a limit.
    """
    decoder = MultipartDecoder(boundary)
    # The whole body goes in before the first part comes out: fed piece by piece, the decoder of werkzeug 3.1.9 adds a
    # carriage return to a part's content where a piece ends within the closing boundary (pallets/werkzeug#3285).
    for chunk in chunks:
        decoder.receive_data(chunk)
    decoder.receive_data(None)  # nothing follows
    form = _Form(wanted)
    try:
        while not isinstance(event := _next_event(decoder), Epilogue):
            form.take(event)
    except ValueError as error:
        raise _malformed(_ENDINGS.get(decoder.state, "the body ends before the closing boundary")) from error
    return form.parts


def _next_event(decoder: MultipartDecoder) -> Event:
    if decoder.state is State.PART:
        # The decoder would search and parse headers of any length.
        end = BLANK_LINE_RE.search(decoder.buffer, 0, MAX_HEADERS_BYTES)
        if end is None and len(decoder.buffer) > MAX_HEADERS_BYTES:
            raise _malformed(f"a part's headers exceed {MAX_HEADERS_BYTES} bytes")
        if end is not None:
            _rewrite_latin1(decoder.buffer, end.start())
    return decoder.next_event()


def _rewrite_latin1(buffer: bytearray, num_bytes: int) -> None:
    """Make headers UTF-8: old clients send file names in Latin-1, and the decoder refuses them."""
    headers = bytes(buffer[:num_bytes])
    try:
        headers.decode("utf-8")
    except UnicodeDecodeError:
        buffer[:num_bytes] = headers.decode("latin-1").encode("utf-8")


def _value(parameter: re.Match[str]) -> str:
    quoted, bare = parameter[2], parameter[3]
    return bare.strip() if quoted is None else re.sub(r"\\(.)", r"\1", quoted)


class _Form:
    """Collects the decoder's events into parts."""

    def __init__(self, wanted: Collection[str]) -> None:
        self.parts: list[Part] = []
        self._wanted = wanted
        self._num_parts = 0
        self._open: Field | File | None = None
        self._pieces: list[bytes] = []

    def take(self, event: Event) -> None:
        if isinstance(event, (Field, File)):
            self._begin(event)
        elif isinstance(event, Data) and self._open is not None:
            self._pieces.append(event.data)
            if not event.more_data:
                self._end(self._open)

    def _begin(self, event: Field | File) -> None:
        self._num_parts += 1
        if self._num_parts > MAX_PARTS:
            raise Problem(400, "too_many_parts", f"the form has more than {MAX_PARTS} parts")
        if event.name is None:  # werkzeug casts it to str, but a part may well be sent without one
            raise _malformed(f"part {self._num_parts} of the form has no name")
        self._open = event if event.name in self._wanted else None

    def _end(self, event: Field | File) -> None:
        data = decode_part(b"".join(self._pieces), event.headers.get("Content-Transfer-Encoding", ""), event.name)
        self.parts.append(Part(name=event.name, is_file=isinstance(event, File), data=data))
        self._pieces = []
        self._open = None


def _malformed(detail: str) -> Problem:
    return Problem(400, "malformed_multipart", detail)

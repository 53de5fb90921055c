"""Split a multipart/form-data body into its parts, in memory.

Flask's own parser is not used: it writes large files to disk, replaces invalid UTF-8 silently, and hides repeated
fields.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from multipart import MultipartError, MultipartSegment, PushMultipartParser
from werkzeug.http import parse_options_header

from proxy.problems import Problem
from proxy.transfer_encoding import decode_part

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

# Real clients send boundaries with = / : ? and so on without the quotes that RFC 2045 asks for; parsers of options cut
# them off there.
_PARAMETER = re.compile(r';\s*([^=;\s"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))')
MAX_PARTS = 64
MAX_BOUNDARY_BYTES = 200  # RFC 2046, section 5.1.1, says 70; not every client keeps to it
MAX_HEADERS = 16  # of one part; RFC 7578 defines three
MAX_HEADER_BYTES = 8 * 1024  # of one header; as much as gunicorn allows a request's


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a form. It is a file if it came with a file name, even an empty one; otherwise a plain field."""

    name: str
    is_file: bool
    data: bytes


def parse_boundary(content_type: str) -> bytes:
    """Return the boundary that a multipart/form-data content type declares.

    Raises:
        Problem: 400 if there is none, or it is not ASCII, or longer than ``MAX_BOUNDARY_BYTES``.
    """
    boundaries = (_value(match) for match in _PARAMETER.finditer(content_type) if match[1].lower() == "boundary")
    boundary = next(boundaries, "")
    if not boundary or not boundary.isascii() or not boundary.isprintable():
        raise _malformed("the content type multipart/form-data declares no usable boundary")
    if len(boundary) > MAX_BOUNDARY_BYTES:
        raise _malformed(f"the boundary has {len(boundary)} characters; the limit is {MAX_BOUNDARY_BYTES}")
    return boundary.encode("ascii")


def read_parts(chunks: Iterable[bytes], *, boundary: bytes, wanted: Collection[str]) -> list[Part]:
    """Return the parts named in ``wanted``, in the order they were sent, and drop the others.

    Args:
        chunks: The body, in pieces; it is held in memory until it is complete.
        boundary: The delimiter between the parts.
        wanted: Names of the parts to keep. A name sent twice yields two parts.

    Raises:
        Problem: 400 if the body is not a complete multipart document, or its parts or their headers exceed a limit.
    """
    parts = []
    for number, (segment, content) in enumerate(_split(b"".join(chunks), boundary), start=1):
        if number > MAX_PARTS:
            raise Problem(400, "too_many_parts", f"the form has more than {MAX_PARTS} parts")
        # werkzeug also reads RFC 5987's "filename*", which is the only file name that some older clients send.
        _, options = parse_options_header(segment["Content-Disposition"])
        if (name := options.get("name")) is None:
            raise _malformed(f"part {number} of the form has no name")
        if name in wanted:
            data = decode_part(content, segment.header("Content-Transfer-Encoding", ""), name)
            parts.append(Part(name=name, is_file="filename" in options, data=data))
    return parts


def _split(body: bytes, boundary: bytes) -> Iterator[tuple[MultipartSegment, bytes]]:
    """Yield the headers and the content of each part."""
    if b"--" + boundary not in body:
        raise _malformed("the boundary that the content type declares does not occur in the body")
    if b"\r\n\r\n--" + boundary in body:
        body = _complete_empty_parts(body, boundary)
    parser = PushMultipartParser(
        boundary,
        max_header_count=MAX_HEADERS,
        max_header_size=MAX_HEADER_BYTES,
        header_charset="latin-1",  # never fails; only ASCII names are compared, and file names are not used
    )
    segment, content, number = None, b"", 1
    try:
        # The whole body goes in at once: in pieces, the parser accepts some broken headers or not, depending on where
        # the network cut them.
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                segment, content = event, b""
            elif event is None:
                yield segment, content
                number += 1
            else:
                content = event  # in one piece, since the body is
    except MultipartError as error:
        raise _malformed(f"part {number} of the form is malformed: {error}") from error
    try:
        parser.close()
    except MultipartError as error:
        raise _malformed("the body ends before the closing boundary") from error


def _complete_empty_parts(body: bytes, boundary: bytes) -> bytes:
    """Add the line break that a part without content may omit (RFC 2046, section 5.1.1), but the parser expects."""
    delimiter = b"\r\n--" + re.escape(boundary)
    # Linear in time: the lines of one part's headers end where the next delimiter begins.
    headers = rb"(%b\r\n(?:(?!--)[^\r\n]++\r\n){1,%d}+)(?=%b)" % (delimiter, MAX_HEADERS, delimiter)
    return re.sub(headers, rb"\1\r\n", b"\r\n" + body)


def _value(parameter: re.Match[str]) -> str:
    quoted, bare = parameter[2], parameter[3]
    return bare.strip() if quoted is None else re.sub(r"\\(.)", r"\1", quoted)


def _malformed(detail: str) -> Problem:
    return Problem(400, "malformed_multipart", detail)

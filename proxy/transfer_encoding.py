"""Decode a part's Content-Transfer-Encoding, which mail libraries add to forms (RFC 2045, section 6).

RFC 7578 forbids it in forms, but some clients send it.
"""

from __future__ import annotations

import base64
import binascii
import quopri

from proxy.problems import Problem

_PLAIN = frozenset({"", "7bit", "8bit", "binary"})
_WHITESPACE = b" \t\r\n"


def decode_part(data: bytes, encoding: str, name: str) -> bytes:
    """Return the decoded content of a part.

    Args:
        data: The part as it was sent.
        encoding: Its Content-Transfer-Encoding, empty if it has none.
        name: The part's name, for the error.

    Raises:
        Problem: 400 if RFC 2045 does not define the encoding, or the part cannot be decoded.
    """
    encoding = encoding.strip().lower()
    if encoding in _PLAIN:
        return data
    if encoding == "quoted-printable":
        return quopri.decodestring(data)
    if encoding != "base64":
        raise Problem(
            400,
            "unsupported_transfer_encoding",
            f"the part '{name}' has the Content-Transfer-Encoding {encoding[:40]!r}; send its bytes unencoded",
        )
    try:
        return base64.b64decode(data.translate(None, _WHITESPACE), validate=True)
    except binascii.Error as error:
        raise Problem(400, "malformed_base64", f"the part '{name}' declares base64 and is not: {error}") from error

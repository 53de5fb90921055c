"""Undo a part's Content-Transfer-Encoding, which mail libraries add to forms (RFC 2045, section 6).

RFC 7578 says that forms have none; a part that has one is not the bytes it stands for.
"""

from __future__ import annotations

import base64
import binascii
import quopri

from proxy.problems import Problem

_PLAIN = frozenset({"", "7bit", "8bit", "binary"})
_WHITESPACE = b" \t\r\n"


def decode_part(data: bytes, encoding: str, name: str) -> bytes:
    """Return what a part stands for.

    Args:
        data: The part as it was sent.
        encoding: Its Content-Transfer-Encoding, empty if it has none.
        name: The part's name, for the error.

    Raises:
        Problem: 400 where the encoding is none of RFC 2045's, or the part is not in it.
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
            f"the part '{name}' has the Content-Transfer-Encoding {encoding[:40]!r}; send it as it is, without one",
        )
    try:
        return base64.b64decode(data.translate(None, _WHITESPACE), validate=True)
    except binascii.Error as error:
        raise Problem(400, "malformed_base64", f"the part '{name}' is said to be base64 and is not: {error}") from error

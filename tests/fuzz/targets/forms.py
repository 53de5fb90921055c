"""Forms as clients send them: the body, and the header that says how it is divided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.meme_form import read_meme
from proxy.multipart import MAX_BOUNDARY_BYTES, parse_boundary
from proxy.problems import Problem
from tests.fuzz.mutations import change_pieces, splice_number
from tests.fuzz.oracles import InsaneAnswerError, Target

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_CONTENT_TYPE: Final = "multipart/form-data; boundary=xYz"
_MAX_TEXT_BYTES: Final = 256
_TOKENS: Final = (
    *(b"\r\n--xYz\r\n", b"\r\n--xYz--\r\n", b"--xYz", b"\r\n\r\n", b"\r\n", b"\n", b"\r", b"--", b"\0", b"\xff"),
    *(b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n', b'; name="text"', b"; filename="),
    *(b'Content-Disposition: form-data; name="text"\r\n', b"; filename*=utf-8''%e2%82%ac", b"filename*0=", b"name*="),
    *(b"Content-Type: text/plain; charset=utf-16\r\n", b"Content-Type: multipart/mixed; boundary=xYz\r\n"),
    *(
        b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"aGVsbG8=",
        b"=3D",
    ),
)
_HEADER_TOKENS: Final = (
    *(b"multipart/form-data", b"boundary=", b"; ", b'"', b"\\", b"=", b",", b"charset=utf-8", b"boundary*=", b"''"),
    *(b"boundary*0=", b"boundary*1=", b"x" * 71, b"x" * 201, b"\xe9", b"\t", b"(", b")", b":", b"?", b"/", b"%00"),
)


def _splicing(tokens: tuple[bytes, ...]) -> Callable[[bytes, Callable[[bytes], bytes], random.Random], bytes]:
    def mutate(data: bytes, engine: Callable[[bytes], bytes], chance: random.Random) -> bytes:
        action = chance.randrange(4)
        if action == 0:
            return splice_number(data, chance)
        if action == 1:
            return engine(data)
        start = chance.randrange(len(data) + 1)
        end = start if action == 2 else min(len(data), start + chance.randrange(40))
        return data[:start] + chance.choice(tokens) + data[end:]

    return mutate


def _mutate_form(data: bytes, engine: Callable[[bytes], bytes], chance: random.Random) -> bytes:
    """Change a form, mostly within one part, so that the delimiters survive."""
    splice = _splicing(_TOKENS)
    if chance.random() < 0.3:
        return splice(data, engine, chance)
    pieces = change_pieces(data.split(b"\r\n--xYz"), chance, lambda piece: splice(piece, engine, chance))
    return b"\r\n--xYz".join(pieces)


def _read_form(body: bytes) -> object:
    outcomes = []
    for size in (len(body) or 1, 7):  # however the network divides it
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        try:
            outcomes.append(read_meme(_CONTENT_TYPE, pieces, max_text_bytes=_MAX_TEXT_BYTES))
        except Problem as problem:
            _check_problem(problem)
            outcomes.append((problem.status, problem.code))
    if outcomes[0] != outcomes[1]:
        raise InsaneAnswerError(f"in one piece {outcomes[0]!r:.100}, in pieces of 7 bytes {outcomes[1]!r:.100}")
    if isinstance(outcomes[0], tuple):
        raise Problem(outcomes[0][0], outcomes[0][1], "refused both ways")
    meme = outcomes[0]
    if not meme.image or len(meme.text.encode()) > _MAX_TEXT_BYTES:
        raise InsaneAnswerError(f"a meme of {len(meme.image)} bytes of picture and {len(meme.text)} characters")
    return meme


def _read_boundary(header: bytes) -> object:
    try:
        boundary = parse_boundary(header.decode("latin-1"))
    except Problem as problem:
        _check_problem(problem)
        raise
    if not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise InsaneAnswerError(f"a boundary of {len(boundary)} bytes")
    return boundary


def _check_problem(problem: Problem) -> None:
    if not 400 <= problem.status < 500:
        raise InsaneAnswerError(f"a client is told {problem.status}")


def _form(image_head: bytes = b"", text_head: bytes = b"", text: bytes = b"a caption") -> bytes:
    return (
        b'--xYz\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n' + image_head + b"\r\n\x89PNG\r\n"
        b'--xYz\r\nContent-Disposition: form-data; name="text"\r\n' + text_head + b"\r\n" + text + b"\r\n--xYz--\r\n"
    )


def _form_seeds() -> list[bytes]:
    return [
        _form(),
        _form(b"Content-Type: image/png\r\n", b"Content-Type: text/plain; charset=utf-8\r\n"),
        _form(text_head=b"Content-Transfer-Encoding: base64\r\n", text=b"YSBjYXB0aW9u"),
        _form(text_head=b"Content-Transfer-Encoding: quoted-printable\r\n", text=b"a=20caption"),
        _form(text=b"\xf0\x9f\x98\x82" * 8),
        b"preamble\r\n" + _form() + b"epilogue",
    ]


def _boundary_seeds() -> list[bytes]:
    headers = (
        "boundary=xYz",
        'boundary="a b"',
        "boundary=----WebKitFormBoundaryAbC; charset=utf-8",
        "boundary*=utf-8''a",
    )
    odd = ("boundary==_Part_1.2", "boundary=a/b:c?d(e,f)", "Boundary=x", 'boundary="a\\"b"')
    return [f"multipart/form-data; {each}".encode() for each in (*headers, *odd)]


TARGETS: Final = {
    "forms": lambda: Target(run=_read_form, accepted=(Problem,), seeds=_form_seeds, mutate=_mutate_form),
    "boundaries": lambda: Target(
        run=_read_boundary,
        accepted=(Problem,),
        seeds=_boundary_seeds,
        mutate=_splicing(_HEADER_TOKENS),
        max_bytes=512,
    ),
}

"""Forms are split exactly, whatever a client puts into them."""

from __future__ import annotations

import random

import pytest
import requests

from proxy.meme_form import MISSING, Meme, read_meme
from proxy.multipart import MAX_HEADER_BYTES, MAX_HEADERS, MAX_PARTS, parse_boundary, read_parts
from proxy.problems import Problem

IMAGE = ("image", ("meme.png", b"\x89PNG\r\n\x1a\n\x00"))
TEXT = ("text", (None, b"caption"))
FORM_TYPE = "multipart/form-data; boundary=edge"
IMAGE_HEADERS = b'Content-Disposition: form-data; name="image"; filename="meme.png"'
TEXT_HEADERS = b'Content-Disposition: form-data; name="text"'


def encode(*fields: tuple[str, tuple[str | None, bytes]]) -> tuple[str, bytes]:
    """Write a form as the requests library does."""
    prepared = requests.Request("POST", "http://localhost", files=fields).prepare()
    assert isinstance(prepared.body, bytes)
    return prepared.headers["Content-Type"], prepared.body


def read(*fields: tuple[str, tuple[str | None, bytes]], max_text_bytes: int = 100) -> Meme:
    content_type, body = encode(*fields)
    return read_meme(content_type, [body], max_text_bytes=max_text_bytes)


def problem_of(content_type: str, body: bytes) -> Problem:
    with pytest.raises(Problem) as raised:
        read_meme(content_type, [body], max_text_bytes=100)
    return raised.value


def part(headers: bytes, content: bytes = b"x") -> bytes:
    return b"--edge\r\n" + headers + b"\r\n\r\n" + content + b"\r\n"


def test_a_meme_is_read_to_the_byte() -> None:
    assert read(IMAGE, TEXT) == Meme(image=IMAGE[1][1], text="caption")


@pytest.mark.parametrize(
    "text", ["", "line one\r\nline two\n", "null \x00 byte", "emoji 😀 and ümläut", "\ufeffmark", "--edge"]
)
def test_text_is_passed_on_unchanged(text: str) -> None:
    assert read(IMAGE, ("text", (None, text.encode()))).text == text


def test_text_may_come_as_a_file() -> None:
    assert read(IMAGE, ("text", ("caption.txt", b"from a file"))).text == "from a file"


def test_other_fields_are_ignored() -> None:
    assert read(("lang", (None, b"\xff")), IMAGE, TEXT, ("lang", ("x", b""))) == read(IMAGE, TEXT)


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ([TEXT], "no file 'image'"),
        ([IMAGE], "no field 'text'"),
        ([("other", (None, b"x"))], "no file 'image'"),
        ([("image", ("meme.png", b"")), TEXT], "empty (0 bytes)"),
        ([("image", ("", b"")), TEXT], "empty (0 bytes)"),
        ([("image", (None, b"path/meme.png")), TEXT], "-F image=@meme.png"),
    ],
    ids=["no image", "no text", "neither", "empty file", "no file selected", "plain field"],
)
def test_a_missing_part_is_named(fields: list[tuple[str, tuple[str | None, bytes]]], detail: str) -> None:
    problem = problem_of(*encode(*fields))
    assert (problem.status, problem.code, problem.error) == (400, "missing_part", MISSING)
    assert detail in problem.detail


def test_an_image_without_a_file_name_is_still_a_file() -> None:
    body = part(b'Content-Disposition: form-data; name="image"; filename=""', b"png") + part(
        b'Content-Disposition: form-data; name="text"'
    )
    assert read_meme(FORM_TYPE, [body + b"--edge--\r\n"], max_text_bytes=9).image == b"png"


@pytest.mark.parametrize(
    ("content_type", "named"),
    [
        ("application/json", "application/json"),
        ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded"),
        ("multipart/mixed; boundary=edge", "multipart/mixed"),
        ("", "no declared type"),
    ],
)
def test_what_is_no_form_is_named(content_type: str, named: str) -> None:
    problem = problem_of(content_type, b"{}")
    assert (problem.status, problem.error) == (400, MISSING)
    assert named in problem.detail


@pytest.mark.parametrize(("again", "times"), [(IMAGE, 2), (TEXT, 2)])
def test_a_repeated_field_is_named_and_counted(again: tuple[str, tuple[str | None, bytes]], times: int) -> None:
    problem = problem_of(*encode(IMAGE, TEXT, again))
    assert (problem.status, problem.code) == (400, "repeated_field")
    assert f"'{again[0]}' was sent {times} times" in problem.detail


def test_text_in_another_encoding_is_located() -> None:
    problem = problem_of(*encode(IMAGE, ("text", (None, "naïve".encode("latin-1")))))
    assert (problem.status, problem.code) == (400, "invalid_text")
    assert "at byte 2" in problem.detail


def test_text_is_bounded_in_bytes() -> None:
    assert read(IMAGE, ("text", (None, b"x" * 100))).text == "x" * 100
    problem = problem_of(*encode(IMAGE, ("text", (None, "é".encode() * 51))))
    assert (problem.status, problem.code) == (413, "text_too_long")
    assert "102 bytes; the limit is 100 bytes" in problem.detail


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=é",
        f"multipart/form-data; boundary={'x' * 201}",
    ],
)
def test_a_form_without_usable_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(Problem, match="boundary") as raised:
        parse_boundary(content_type)
    assert (raised.value.status, raised.value.code) == (400, "malformed_multipart")


def test_a_boundary_longer_than_the_rfc_allows_is_read() -> None:
    """Flask's own test client writes 71 characters now and then."""
    assert parse_boundary(f"multipart/form-data; boundary={'x' * 71}") == b"x" * 71


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not a form",
        part(b'Content-Disposition: form-data; name="text"'),
        part(b"Content-Type: text/plain") + b"--edge--",
        part(b"Content-Disposition: form-data") + b"--edge--",
        part(b"X-Long: " + b"x" * MAX_HEADER_BYTES) + b"--edge--",
        part(b"X-Many: x\r\n" * MAX_HEADERS + TEXT_HEADERS) + b"--edge--",
        b"--edge\r\nX-Endless: " + b"x" * 100_000,
    ],
    ids=[
        "empty",
        "no boundary",
        "cut off",
        "no disposition",
        "no name",
        "long header",
        "many headers",
        "endless header",
    ],
)
def test_a_malformed_form_is_refused(body: bytes) -> None:
    problem = problem_of(FORM_TYPE, body)
    assert (problem.status, problem.code) == (400, "malformed_multipart")


def test_the_number_of_parts_is_bounded() -> None:
    crowd = [(f"field{index}", (None, b"")) for index in range(MAX_PARTS - 1)]
    assert read(IMAGE, ("text", (None, b"")), *crowd[1:]).text == ""
    problem = problem_of(*encode(IMAGE, TEXT, *crowd))
    assert (problem.status, problem.code) == (400, "too_many_parts")
    assert f"more than {MAX_PARTS}" in problem.detail


def test_how_the_network_cuts_a_body_changes_nothing() -> None:
    content_type, body = encode(IMAGE, TEXT)
    whole = read(IMAGE, TEXT)
    for cut in range(len(body) + 1):
        assert read_meme(content_type, [body[:cut], body[cut:]], max_text_bytes=100) == whole


def test_garbage_raises_nothing_but_problems() -> None:
    """Only a Problem is answered with a 4xx; anything else would be a 500 that a client can cause."""
    chance = random.Random(0)
    body = part(b'Content-Disposition: form-data; name="image"; filename="a"', bytes(range(256))) + b"--edge--\r\n"
    tokens = [
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b"--edge",
        b"--",
        b"\0",
        b"\xff",
        b";",
        b'"',
        b"name*=utf-8''%ff",
        b"filename*0=",
    ]
    num_refused = 0
    for _ in range(3000):
        garbled = bytearray(body)
        for _ in range(chance.randint(1, 6)):
            start = chance.randrange(len(garbled) + 1)
            garbled[start : start + chance.randint(0, 20)] = chance.choice(tokens)
        try:
            read_parts([bytes(garbled)], boundary=b"edge", wanted=("image", "text"))
        except Problem:
            num_refused += 1
    assert 0 < num_refused < 3000


@pytest.mark.parametrize("boundary", ["----=_Part_0_12.5", "a/b", "a:b", "a?b", "a(b)", "a,b", "=a", "a'b", "a+b"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_boundary_may_have_any_character_of_the_rfc(boundary: str, quote: str) -> None:
    body = (part(IMAGE_HEADERS, b"png") + part(TEXT_HEADERS) + b"--edge--\r\n").replace(b"edge", boundary.encode())
    content_type = f"multipart/form-data; charset=utf-8; Boundary={quote}{boundary}{quote}"
    assert read_meme(content_type, [body], max_text_bytes=9) == Meme(image=b"png", text="x")


def test_a_file_name_in_latin_1_is_no_obstacle() -> None:
    headers = IMAGE_HEADERS.replace(b"meme.png", "fête.png".encode("latin-1"))
    body = part(headers, b"png") + part(TEXT_HEADERS) + b"--edge--\r\n"
    assert read_meme(FORM_TYPE, [body], max_text_bytes=9).image == b"png"


def test_a_part_without_content_may_end_with_its_headers() -> None:
    """RFC 2046, section 5.1.1; werkzeug's test client writes empty fields so."""
    parts = [b"--edge\r\n" + headers + b"\r\n" for headers in (TEXT_HEADERS, b"X-Y: z\r\n" + IMAGE_HEADERS)]
    body = part(IMAGE_HEADERS.replace(b"image", b"other"), b"x\r\n") + b"\r\n".join([*parts, b"--edge--\r\n"])
    assert [each.data for each in read_parts([body], boundary=b"edge", wanted=("image", "text"))] == [b"", b""]
    assert [each.data for each in read_parts([body], boundary=b"edge", wanted=("other",))] == [b"x\r\n"]


def test_a_file_name_in_the_extended_notation_makes_a_file() -> None:
    """Older versions of urllib3 send a name that is not ASCII as ``filename*`` alone (RFC 5987)."""
    headers = IMAGE_HEADERS.replace(b'filename="meme.png"', b"filename*=utf-8''f%C3%AAte.png")
    body = part(headers, b"png") + part(TEXT_HEADERS) + b"--edge--\r\n"
    assert read_meme(FORM_TYPE, [body], max_text_bytes=9).image == b"png"


@pytest.mark.parametrize(
    ("encoding", "sent"),
    [
        ("base64", b"w6kg\r\nPQ=="),
        ("BASE64", b"w6kgPQ=="),
        ("quoted-printable", b"=C3=A9 =3D"),
        ("binary", b"\xc3\xa9 ="),
        ("8bit", b"\xc3\xa9 ="),
        ("7bit", b"\xc3\xa9 ="),
    ],
)
def test_a_transfer_encoding_is_undone(encoding: str, sent: bytes) -> None:
    header = f"\r\nContent-Transfer-Encoding: {encoding}".encode()
    body = part(IMAGE_HEADERS + header, sent) + part(TEXT_HEADERS + header, sent) + b"--edge--\r\n"
    assert read_meme(FORM_TYPE, [body], max_text_bytes=9) == Meme(image="é =".encode(), text="é =")


@pytest.mark.parametrize(
    ("encoding", "code"), [("base64", "malformed_base64"), ("x-uuencode", "unsupported_transfer_encoding")]
)
def test_a_transfer_encoding_that_cannot_be_undone_is_named(encoding: str, code: str) -> None:
    header = f"\r\nContent-Transfer-Encoding: {encoding}".encode()
    body = part(IMAGE_HEADERS + header, b"!?") + part(TEXT_HEADERS) + b"--edge--\r\n"
    problem = problem_of(FORM_TYPE, body)
    assert (problem.status, problem.code) == (400, code)
    assert "'image'" in problem.detail


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"--other\r\n", "does not occur in the body"),
        (part(b'Content-Disposition: form-data; name="text"'), "before the closing boundary"),
        (b'--edge\r\nContent-Disposition: form-data; name="te', "before the closing boundary"),
        (part(TEXT_HEADERS) + part(b"no header") + b"--edge--", "part 2 of the form is malformed"),
    ],
)
def test_where_a_form_is_broken_is_named(body: bytes, detail: str) -> None:
    assert detail in problem_of(FORM_TYPE, body).detail

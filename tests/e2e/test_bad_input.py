"""Every bad request gets the status of the contract, disturbs no other request, and kills no worker."""

from __future__ import annotations

import concurrent.futures
import io
import socket
import struct
import time
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import requests
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import Server

BODY_LIMIT = 16 * 2**20


def is_verdict(response: requests.Response) -> bool:
    answer = response.json()
    return (
        response.status_code == 200
        and answer["prediction"] in {"Offensive", "Non-offensive"}
        and (answer["prediction"] == "Non-offensive") == (answer["probability"] >= answer["threshold"])
    )


@pytest.fixture(autouse=True)
def nothing_is_harmed(server: Server, good_image: bytes) -> Any:
    """After each test the next good request is answered, by the same workers."""
    before = server.worker_pids()
    yield
    assert is_verdict(server.predict(good_image, "after that"))
    assert server.worker_pids() == before


def refused(response: requests.Response, status: int) -> dict[str, Any]:
    """The problem document of a refusal."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert {"type", "title", "detail", "code", "request_id", "error"} <= problem.keys()
    return problem


def huge_png() -> bytes:
    """A PNG of 40,000 x 40,000 black pixels' header and a taste of its rows, in 2 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 1, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(5001 * 300), 9))
    return b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b"")


@pytest.mark.parametrize("missing", [("image",), ("text",), ("image", "text")], ids=" and ".join)
def test_a_missing_part_is_answered_as_the_original_did(
    server: Server, good_image: bytes, missing: tuple[str, ...]
) -> None:
    response = server.predict(None if "image" in missing else good_image, None if "text" in missing else "words")
    assert refused(response, 400)["error"] == "Missing image or text"


def test_both_parts_empty(server: Server) -> None:
    assert refused(server.predict(b"", ""), 400)["error"] == "Missing image or text"


def test_a_zero_byte_file(server: Server) -> None:
    assert refused(server.predict(b"", "a caption"), 400)["error"] == "Missing image or text"


def test_an_empty_caption_is_judged(server: Server, good_image: bytes) -> None:
    assert is_verdict(server.predict(good_image, ""))


def test_a_text_file_called_png(server: Server) -> None:
    problem = refused(server.predict(b"I am no picture. " * 9, "a caption"), 415)
    assert problem["code"] == "unsupported_image"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_a_truncated_picture(server: Server, encode: Callable[..., bytes], image_format: str) -> None:
    data = encode(image_format)
    assert refused(server.predict(data[: len(data) // 2], "cut"), 422)["code"] == "damaged_image"


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "BMP"])
def test_other_formats_of_the_web_are_judged(server: Server, encode: Callable[..., bytes], image_format: str) -> None:
    assert is_verdict(server.predict(encode(image_format), "fine"))


def test_tiff_is_refused_by_name(server: Server, encode: Callable[..., bytes]) -> None:
    assert "JPEG, PNG, GIF, WEBP, BMP" in refused(server.predict(encode("TIFF"), "scan"), 415)["detail"]


def test_an_animation_is_judged_by_its_first_frame(server: Server, encode: Callable[..., bytes]) -> None:
    first, second = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
    animated = server.predict(encode("GIF", first, save_all=True, append_images=[second]), "moving")
    still = server.predict(encode("GIF", first), "moving")
    assert animated.json() == still.json()


def palette_with_alpha() -> Image.Image:
    image = Image.new("P", (60, 40), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.info["transparency"] = bytes([0, 128])
    return image


@pytest.mark.parametrize(
    ("image_format", "image"),
    [
        ("JPEG", Image.new("CMYK", (60, 40), (0, 200, 0, 0))),
        ("PNG", Image.fromarray(np.linspace(0, 65535, 2400).reshape(40, 60).astype(np.uint16))),
        ("PNG", palette_with_alpha()),
        ("PNG", Image.new("LA", (60, 40), (10, 100))),
        ("PNG", Image.new("1", (60, 40), 1)),
        ("PNG", Image.new("RGB", (1, 1))),
        ("PNG", Image.new("RGB", (1, 5000), "green")),
    ],
    ids=["CMYK", "16-bit", "palette+alpha", "grey+alpha", "1-bit", "1x1", "1x5000"],
)
def test_unusual_pictures_are_judged(
    server: Server, encode: Callable[..., bytes], image_format: str, image: Image.Image
) -> None:
    assert is_verdict(server.predict(encode(image_format, image), "odd"))


def test_a_picture_rotated_by_exif_is_turned_upright(server: Server, encode: Callable[..., bytes]) -> None:
    upright = Image.effect_noise((80, 40), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    turned = encode("PNG", upright.transpose(Image.Transpose.ROTATE_90), exif=exif)
    assert server.predict(turned, "up").json() == server.predict(encode("PNG", upright), "up").json()


def test_a_decompression_bomb(server: Server) -> None:
    data = huge_png()
    assert len(data) < 2048
    problem = refused(server.predict(data, "boom"), 422)
    assert problem["code"] == "image_too_large"
    assert "1600000000 pixels" in problem["detail"]
    assert "50000000" in problem["detail"]


def test_a_picture_that_is_a_mere_line(server: Server, encode: Callable[..., bytes]) -> None:
    problem = refused(server.predict(encode("PNG", Image.new("1", (1, 30_000))), "thin"), 422)
    assert "1x30000" in problem["detail"]
    assert "20000" in problem["detail"]


def repeat_last_scan(jpeg: bytes, times: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: a pass over all pixels each time."""
    start = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[start:-2] * times + jpeg[-2:]


def test_a_jpeg_of_a_thousand_scans(server: Server, encode: Callable[..., bytes]) -> None:
    jpeg = encode("JPEG", Image.new("L", (4000, 4000)), progressive=True)
    assert "scans" in refused(server.predict(repeat_last_scan(jpeg, 1000), "again"), 422)["detail"]


def test_a_picture_that_is_slow_to_decode_holds_nobody_up(server: Server, encode: Callable[..., bytes]) -> None:
    jpeg = encode("JPEG", Image.new("L", (7000, 7000)), progressive=True)
    problem = refused(server.predict(repeat_last_scan(jpeg, 90), "slow"), 422)
    assert problem["code"] == "slow_image"


def test_a_body_over_the_limit(server: Server) -> None:
    problem = refused(server.predict(bytes(BODY_LIMIT + 1), "big"), 413)
    assert str(BODY_LIMIT) in problem["detail"]


def test_a_body_just_under_the_limit_reaches_the_worker(server: Server) -> None:
    assert refused(server.predict(bytes(BODY_LIMIT - 4096), "big"), 415)["code"] == "unsupported_image"


def test_a_text_of_100_kb(server: Server, good_image: bytes) -> None:
    problem = refused(server.predict(good_image, "word " * 20_000), 413)
    assert "100000" in problem["detail"]
    assert "16384" in problem["detail"]


def test_a_text_of_too_many_tokens(server: Server, good_image: bytes) -> None:
    problem = refused(server.predict(good_image, "\N{PILE OF POO}" * 4000), 413)
    assert problem["code"] == "text_too_long"


@pytest.mark.parametrize("text", ["\N{FACE WITH TEARS OF JOY}" * 20, "nul\x00byte\x00", "\u202ertl \u0627\n\t\r\n"])
def test_strange_characters_are_judged(server: Server, good_image: bytes, text: str) -> None:
    assert is_verdict(server.predict(good_image, text))


def test_text_that_is_not_utf8(server: Server, good_image: bytes) -> None:
    assert "UTF-8" in refused(server.predict(good_image, b"caf\xe9"), 400)["detail"]


@pytest.mark.parametrize("field", ["image", "text"])
def test_a_repeated_field(server: Server, good_image: bytes, field: str) -> None:
    parts = [("image", ("a.png", good_image)), ("text", (None, "one"))]
    parts += [part for part in parts if part[0] == field]
    response = requests.post(f"{server.url}/predict", files=parts, timeout=30)
    assert field in refused(response, 400)["detail"]


@pytest.mark.parametrize(
    "request_options",
    [
        {"json": {"image": "x", "text": "y"}},
        {"data": b"raw bytes"},
        {"data": {"image": "x", "text": "y"}},
        {"data": b"--x\r\n", "headers": {"Content-Type": "multipart/form-data"}},
    ],
    ids=["json", "raw", "urlencoded", "no boundary"],
)
def test_not_multipart_at_all(server: Server, request_options: dict[str, Any]) -> None:
    refused(requests.post(f"{server.url}/predict", timeout=30, **request_options), 400)


@pytest.mark.parametrize("header", ["describe", "explain"])
def test_headers_with_a_meaning_to_torchserve_mean_nothing_here(server: Server, good_image: bytes, header: str) -> None:
    assert is_verdict(server.predict(good_image, "plain", headers={header: "True"}))


def test_get_predict(server: Server) -> None:
    response = requests.get(f"{server.url}/predict", timeout=30)
    refused(response, 405)
    assert "POST" in response.headers["Allow"]


def test_of_eight_at_once_two_damaged_fail_alone(server: Server, good_image: bytes) -> None:
    memes = [good_image] * 8
    memes[2], memes[5] = good_image[: len(good_image) // 2], b"no picture"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda image: server.predict(image, "at once").status_code, memes))
    assert statuses == [200, 200, 422, 200, 200, 415, 200, 200]


def test_a_picture_cut_off_by_the_network_is_answered_or_dropped(server: Server, good_image: bytes) -> None:
    """A client that promises more than it sends and hangs up."""
    body = io.BytesIO(requests.Request("POST", server.url, files={"image": ("m.png", good_image)}).prepare().body)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        client.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode() + body.read(500))
    time.sleep(0.2)

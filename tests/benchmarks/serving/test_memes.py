"""What is sent: forms that Flask reads, memes none of which a cell repeats, pictures every decoder reads alike."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from flask import Flask, request
from PIL import Image

from benchmarks.serving.memes import SentMeme, make_caption, make_picture, make_requests, read_memes

if TYPE_CHECKING:
    from pathlib import Path


def test_memes_come_from_a_data_set_or_are_drawn(demo_folder: Path) -> None:
    assert len(read_memes(demo_folder, 10)) == 10
    assert len(read_memes(demo_folder, 1000)) == 40
    for image, _ in read_memes(None, 8):
        Image.open(io.BytesIO(image)).verify()


def test_no_two_requests_of_a_cell_are_equal_and_the_same_cell_is_the_same_for_every_server() -> None:
    memes = read_memes(None, 8)
    bodies = [make_requests(memes, "/predict", {}, cell="a")(n).partition(b"\r\n\r\n")[2] for n in range(50)]
    others = [make_requests(memes, "/other", {"X": "1"}, cell="a")(n).partition(b"\r\n\r\n")[2] for n in range(50)]
    assert len(set(bodies)) == 50
    assert bodies == others
    again = make_requests(memes[:1], "/predict", {}, cell="a", distinct=False)
    assert again(0) == again(1)


def test_what_follows_a_picture_does_not_change_it() -> None:
    meme = SentMeme(make_picture(64), "words")
    sent = make_requests([meme], "/", {}, cell="a")(3).partition(b"\r\n\r\n")[2].partition(b"\r\n\r\n")[2]
    marked = sent[: sent.index(b"\r\n--")]
    assert marked.startswith(meme.image)
    assert marked != meme.image
    assert Image.open(io.BytesIO(marked)).tobytes() == Image.open(io.BytesIO(meme.image)).tobytes()


def test_flask_reads_the_form() -> None:
    app = Flask(__name__)
    head, _, body = make_requests([SentMeme(b"picture", "\N{GRINNING FACE} words")], "/", {}, cell="a")(0).partition(
        b"\r\n\r\n"
    )
    content_type = head.partition(b"Content-Type: ")[2].partition(b"\r\n")[0].decode()
    with app.test_request_context("/", method="POST", data=body, content_type=content_type):
        assert request.files["image"].read().startswith(b"picture\0")
        assert request.form["text"] == "\N{GRINNING FACE} words"


def test_pictures_and_captions_have_the_size_asked_for() -> None:
    assert Image.open(io.BytesIO(make_picture(300))).size == (300, 300)
    assert [len(make_caption(number).split()) for number in (0, 1, 100)] == [0, 1, 100]

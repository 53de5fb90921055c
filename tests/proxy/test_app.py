"""The routes answer as promised, in front of a real TorchServe whose worker does what a text asks for.

Requests come from Flask's test client; ``test_gunicorn`` uses real connections.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import random
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image

from benchmarks.ports import free_ports
from proxy.health import PROBE_IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from tests.proxy.conftest import Upstream

    Serve = Callable[..., FlaskClient]

PICTURE = b"\x89PNG\r\n\x1a\n"


def predict(web: FlaskClient, text: str, image: bytes = PICTURE, headers: dict[str, str] | None = None) -> TestResponse:
    # Flask's test client would encode a large picture by way of a temporary file.
    form = {"image": ("meme.png", image), "text": (None, text.encode())}
    prepared = requests.Request("POST", "http://localhost/predict", files=form).prepare()
    return web.post("/predict", data=prepared.body, content_type=prepared.headers["Content-Type"], headers=headers)


def assert_problem(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    problem: dict[str, Any] = json.loads(response.data)
    assert (problem["type"], problem["status"], problem["code"]) == ("about:blank", status, code)
    assert problem["title"]
    assert problem["detail"]
    assert problem["error"]
    assert problem["request_id"] == response.headers["X-Request-Id"]
    assert "Traceback" not in response.text
    return problem


def test_a_prediction_has_the_two_members_of_old_and_the_workers_own(web: FlaskClient) -> None:
    response = predict(web, "a caption")
    assert (response.status_code, response.content_type) == (200, "application/json")
    members = response.get_json()
    assert list(members)[:4] == ["prediction", "probability", "threshold", "version"]
    assert (members["prediction"], members["probability"]) == ("Non-offensive", 0.625)


@pytest.mark.parametrize("text", ["", "null \x00 byte", "emoji 😀", "two\r\nlines"])
def test_the_worker_gets_what_the_client_sent(web: FlaskClient, text: str) -> None:
    image = random.Random(0).randbytes(100_000) + b"\r\n--boundary--\r\n\r\n"
    members = predict(web, text, image).get_json()
    assert members["text"] == text
    assert members["image_sha256"] == hashlib.sha256(image).hexdigest()


def test_no_header_of_a_client_reaches_the_worker(web: FlaskClient) -> None:
    """To TorchServe, ``describe: True`` is a command."""
    theirs = {"describe": "True", "Authorization": "Bearer theirs", "Cookie": "a=b"}
    headers = predict(web, "", headers=theirs).get_json()["headers"]
    assert {"describe", "Cookie"}.isdisjoint(headers)
    assert headers["Authorization"] != "Bearer theirs"


def test_nothing_a_client_sends_is_written_to_disk(web: FlaskClient) -> None:
    """Flask's own form parser would open a temporary file for a picture this large."""
    opened: list[object] = []
    watching = [True]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[2], int) and arguments[2] & 3:  # for writing
            opened.append(arguments[0])

    sys.addaudithook(watch)  # there is no way to remove it
    predict(web, "", b"x" * 900_000)
    watching.clear()
    assert opened == []


@pytest.mark.parametrize("fields", [{}, {"text": "x"}, {"image": (io.BytesIO(b""), "meme.png"), "text": "x"}])
def test_a_missing_part_is_answered_in_the_words_of_old(web: FlaskClient, fields: dict[str, Any]) -> None:
    response = web.post("/predict", data=fields, content_type="multipart/form-data")
    assert assert_problem(response, 400, "missing_part")["error"] == "Missing image or text"


def test_json_instead_of_a_form_is_a_missing_part(web: FlaskClient) -> None:
    problem = assert_problem(web.post("/predict", json={"text": "x"}), 400, "missing_part")
    assert problem["error"] == "Missing image or text"
    assert "application/json" in problem["detail"]


def test_a_malformed_form_is_named(web: FlaskClient) -> None:
    response = web.post("/predict", data=b"x", content_type="multipart/form-data; boundary=edge")
    problem = assert_problem(response, 400, "malformed_multipart")
    assert problem["error"] == problem["detail"]


def test_text_is_bounded(web: FlaskClient) -> None:
    problem = assert_problem(predict(web, "x" * 1001), 413, "text_too_long")
    assert "1001 bytes; the limit is 1000 bytes" in problem["detail"]


def test_a_body_is_bounded(web: FlaskClient) -> None:
    problem = assert_problem(predict(web, "", bytes(2 * 2**20)), 413, "body_too_large")
    assert "the limit is 2097152 bytes" in problem["detail"]


def test_a_wrong_method_is_told_the_right_one(web: FlaskClient) -> None:
    response = web.get("/predict")
    assert_problem(response, 405, "method_not_allowed")
    assert "POST" in response.headers["Allow"]


def test_an_unknown_path_is_a_problem(web: FlaskClient) -> None:
    assert "/nowhere" in assert_problem(web.get("/nowhere"), 404, "not_found")["detail"]


def test_a_clients_request_id_is_kept(web: FlaskClient) -> None:
    assert web.get("/healthz", headers={"X-Request-Id": "trace-1.A_b"}).headers["X-Request-Id"] == "trace-1.A_b"


@pytest.mark.parametrize("theirs", ["two words", "x" * 65, "émile", "", "x;y"])
def test_a_request_id_unfit_for_a_log_is_replaced(web: FlaskClient, theirs: str) -> None:
    ours = web.get("/healthz", headers={"X-Request-Id": theirs}).headers["X-Request-Id"]
    assert ours != theirs
    assert ours.isalnum()


def test_a_bug_is_logged_and_not_shown(web: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> str:
        raise RuntimeError("secret")

    web.application.add_url_rule("/bug", view_func=fail)
    response = web.get("/bug", headers={"X-Request-Id": "bug-1"})
    assert_problem(response, 500, "internal_error")
    assert "secret" not in response.text
    assert "bug-1" in caplog.text
    assert "secret" in caplog.text


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_workers_verdict_on_a_meme_is_passed_on(web: FlaskClient, status: int) -> None:
    response = predict(web, f'status {status} {{"code": "odd_image", "detail": "image has 3 legs; the limit is 2"}}')
    problem = assert_problem(response, status, "odd_image")
    assert problem["detail"] == problem["error"] == "image has 3 legs; the limit is 2"


@pytest.mark.parametrize(
    "answer",
    [
        "say hello",
        "say []",
        'say {"prediction": "Non-offensive"}',
        'say {"prediction": "non-offensive", "probability": 0.5}',
        'say {"prediction": ["Offensive"], "probability": 0.5}',
        'say {"prediction": "Offensive", "probability": "0.5"}',
        'say {"prediction": "Offensive", "probability": true}',
        'say {"prediction": "Offensive", "probability": null}',
        'say {"prediction": "Offensive", "probability": NaN}',
        'say {"prediction": "Offensive", "probability": 1e999}',
        'say {"prediction": "Offensive", "probability": 1.5}',
        'say {"prediction": "Offensive", "probability": -0.1}',
        'say {"prediction": "Offensive", "probability": 0.1, "threshold": NaN}',
        "status 422 not JSON",
        'status 422 {"code": 422, "detail": "numbers are TorchServe\'s"}',
        'status 422 {"code": "odd_image"}',
        'status 418 {"code": "odd_image", "detail": "inner matters"}',
        'status 500 {"code": "odd_image", "detail": "inner matters"}',
    ],
)
def test_nonsense_from_upstream_is_a_bad_gateway(web: FlaskClient, answer: str) -> None:
    assert "inner matters" not in str(assert_problem(predict(web, answer), 502, "bad_upstream_answer"))


@pytest.mark.parametrize("probability", ["0", "1", "0.0", "1.0"])
def test_certainty_is_a_probability(web: FlaskClient, probability: str) -> None:
    response = predict(web, f'say {{"prediction": "Offensive", "probability": {probability}}}')
    assert response.get_json()["probability"] == float(probability)


def test_a_failing_worker_may_be_tried_again(web: FlaskClient) -> None:
    response = predict(web, "raise an exception")
    assert_problem(response, 503, "upstream_busy")
    assert response.headers["Retry-After"] == "1"


def test_a_model_without_worker_may_be_tried_again(serve: Serve) -> None:
    response = predict(serve(model_name="idle"), "")
    assert_problem(response, 503, "upstream_busy")
    assert response.headers["Retry-After"] == "1"


def test_an_unknown_model_is_a_bad_gateway(serve: Serve) -> None:
    assert_problem(predict(serve(model_name="nobody"), ""), 502, "bad_upstream_answer")


def test_a_slow_worker_is_a_gateway_timeout(serve: Serve) -> None:
    assert "0.2 s" in assert_problem(predict(serve(read_timeout_s=0.2), "sleep 0.5"), 504, "upstream_timeout")["detail"]


def test_an_upstream_that_takes_less_than_we_do_says_so(web: FlaskClient, upstream: Upstream) -> None:
    problem = assert_problem(predict(web, "", bytes(upstream.max_request_bytes)), 413, "body_too_large")
    assert "max_request_size" in problem["detail"]


def test_nobody_upstream_may_be_tried_again(serve: Serve) -> None:
    response = predict(serve(inference_url=f"http://127.0.0.1:{free_ports(1)[0]}"), "")
    assert_problem(response, 503, "upstream_unavailable")
    assert response.headers["Retry-After"] == "1"


def test_missing_keys_may_be_tried_again(serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):  # libraries of other tests may have raised the root logger's level
        response = predict(serve(key_file=str(tmp_path / "key_file.json")), "")
    assert_problem(response, 503, "upstream_unavailable")
    assert response.headers["Retry-After"] == "1"
    assert str(tmp_path) not in response.text
    assert str(tmp_path) in caplog.text


def test_the_process_is_healthy_whatever_upstream_does(serve: Serve) -> None:
    assert serve(key_file="nowhere").get("/healthz").get_json() == {"status": "ok"}


def test_readiness_is_a_real_prediction(web: FlaskClient) -> None:
    assert web.get("/readyz").get_json() == {"status": "ready", "model": "meme", "version": "1.0.0"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"model_name": "idle"}, "upstream_busy"), ({"key_file": "nowhere"}, "upstream_unavailable")],
)
def test_unreadiness_has_a_reason(serve: Serve, settings: dict[str, str], reason: str) -> None:
    response = serve(**settings).get("/readyz")
    assert reason in assert_problem(response, 503, "not_ready")["detail"]
    assert response.headers["Retry-After"] == "1"


def test_the_probe_is_a_picture() -> None:
    with Image.open(io.BytesIO(PROBE_IMAGE), formats=["PNG"]) as image:
        assert image.convert("RGB").getcolors() == [(32 * 32, (128, 128, 128))]


def test_a_worker_that_recovers_is_asked_again(web: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        predict(web, "raise an exception", headers={"X-Request-Id": "first"})
    assert predict(web, "").status_code == 200
    assert "first" in caplog.text


def test_a_bound_that_one_form_exceeds_is_refused(serve: Serve) -> None:
    with pytest.raises(ValueError, match=r"body_bytes is 1000; .* 2097152"):
        serve(body_bytes=1000)


ORIGIN = "https://page.example"


def test_pages_of_other_origins_may_not_read_answers_by_default(web: FlaskClient) -> None:
    response = web.get("/healthz", headers={"Origin": ORIGIN})
    assert not [name for name in response.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118


@pytest.mark.parametrize(("origins", "told"), [([ORIGIN], ORIGIN), (["*"], "*"), (["https://other.example"], None)])
def test_origins_that_are_named_may(serve: Serve, origins: list[str], told: str | None) -> None:
    response = predict(serve(allowed_origins=origins), "", headers={"Origin": ORIGIN})
    assert response.headers.get("Access-Control-Allow-Origin") == told
    assert response.headers["Vary"] == "Origin"


def test_their_browsers_may_ask_beforehand(serve: Serve) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    response = serve(allowed_origins=[ORIGIN]).options("/predict", headers=asked)
    assert response.status_code == 200
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN

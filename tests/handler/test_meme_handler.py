"""The handler as a TorchServe worker drives it, with TorchServe's own context: a bad row fails alone."""

from __future__ import annotations

import inspect
import io
import json
import logging
import math
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from PIL import Image

import meme_handler
import memeguard
import rollout
from meme_handler import LOAD_FAILURE, MemeHandler
from memeguard import errors
from memeguard.predictor import Predictor, PreparedMeme, Verdict
from memeguard.torch_runtime import TorchPredictor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ts.context import Context  # noqa: TID251 - the real one, not a stand-in

# ts/version.py leaves its file open when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
SOURCE_ROOT = Path(memeguard.__file__).parent.parent  # where the archiver takes the handler from


def picture(colour: str = "red", size: tuple[int, int] = (40, 30), image_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, image_format)
    return buffer.getvalue()


def row(image: object = None, text: object = None) -> dict[str, Any]:
    """A row as a worker gives it: plain fields and pictures are bytearrays."""
    return {
        "image": bytearray(picture()) if image is None else image,
        "text": bytearray(b"a") if text is None else text,
    }


@pytest.fixture(scope="module")
def model_dir(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked archive."""
    folder = tmp_path_factory.mktemp("unpacked")
    shutil.copytree(bundle_folder, folder / "bundle")
    for name in ("meme_handler.py", "model-config.yaml"):
        shutil.copy(SOURCE_ROOT / name, folder)
    return folder


@pytest.fixture(autouse=True)
def _quiet_root_logger() -> Iterator[None]:
    """A worker's handler raises the level of the root logger."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


def make_context(model_dir: Path, *, batch_size: int | None = 8, settings: object = None) -> Context:
    from ts.context import Context  # noqa: PLC0415, TID251
    from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl  # noqa: PLC0415, TID251

    config = yaml.safe_load((model_dir / "model-config.yaml").read_text("utf-8"))
    if settings is not None:
        config["memeguard"] = settings
    manifest = {"model": {"modelName": "meme", "modelVersion": "1.2.3", "handler": "meme_handler.py"}}
    metrics = MetricsCacheYamlImpl(str(Path(rollout.__file__).parent / "metrics.yaml"))
    metrics.initialize_cache()
    metrics.model_name = "meme"
    return Context(
        "meme", str(model_dir), manifest, batch_size, None, "0.12.0", metrics=metrics, model_yaml_config=config
    )


def ask(
    handler: MemeHandler,
    context: Context,
    rows: list[dict[str, Any]],
    headers: Mapping[int, dict[str, str]] | None = None,
) -> tuple[list[dict[str, Any]], list[tuple[int, str | None]]]:
    """Answers and statuses of one batch."""
    from ts.context import RequestProcessor  # noqa: PLC0415, TID251

    context.metrics.set_request_ids({index: f"request-{index}" for index in range(len(rows))})
    context.request_processor = [RequestProcessor((headers or {}).get(index, {})) for index in range(len(rows))]
    answers = handler.handle(rows, context)
    return answers, [context.get_response_status(index) for index in range(len(rows))]


@pytest.fixture(scope="module")
def context(model_dir: Path) -> Context:
    return make_context(model_dir)


@pytest.fixture(scope="module")
def handler(context: Context) -> MemeHandler:
    handler = MemeHandler()
    handler.initialize(context)
    return handler


def test_the_handler_under_test_is_the_one_that_is_archived() -> None:
    """An installed copy beside the sources would hide what is edited there."""
    assert Path(meme_handler.__file__) == SOURCE_ROOT / "meme_handler.py"


def test_torchserve_finds_one_class_and_no_function_called_handle() -> None:
    """As ts/model_loader.py looks for an entry point."""
    classes = [
        member for _, member in inspect.getmembers(meme_handler, inspect.isclass) if member.__module__ == "meme_handler"
    ]
    assert classes == [MemeHandler]
    assert not hasattr(meme_handler, "handle")


def test_a_meme_is_answered_as_the_model_judges_it(handler: MemeHandler, context: Context, bundle_folder: Path) -> None:
    answers, statuses = ask(handler, context, [row(bytearray(picture("blue")), bytearray(b"your mother"))])
    predictor = TorchPredictor.from_folder(bundle_folder)
    (verdict,) = predictor.predict([predictor.prepare(picture("blue"), "your mother")])
    assert answers == [
        {
            "prediction": verdict.prediction,
            "probability": pytest.approx(verdict.probability, abs=1e-6),
            "threshold": 0.375,
            "version": "1.2.3",
        }
    ]
    assert statuses == [(200, None)]


def test_bad_rows_fail_alone_and_the_others_keep_their_order(handler: MemeHandler, context: Context) -> None:
    good = [row(bytearray(picture(colour)), bytearray(colour.encode())) for colour in ("red", "lime", "blue", "white")]
    damaged, unsupported = row(picture(image_format="JPEG")[:-200]), row(b"no picture")
    answers, statuses = ask(
        handler, context, [good[0], damaged, good[1], good[2], unsupported, good[3], good[0], good[1]]
    )
    assert [status for status, _ in statuses] == [200, 422, 200, 200, 415, 200, 200, 200]
    assert [answer.get("code") for answer in answers] == [None, "damaged_image", None, None, "unsupported_image"] + [
        None
    ] * 3
    alone = [ask(handler, context, [meme])[0][0]["probability"] for meme in (*good, *good[:2])]
    assert len(set(alone)) == 4
    together = [answer["probability"] for answer in answers if "code" not in answer]
    assert together == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("kind", [bytes, bytearray, bytes.decode])
def test_text_comes_as_bytes_bytearray_or_str(handler: MemeHandler, context: Context, kind: Any) -> None:
    answers, _ = ask(handler, context, [row(text=kind("é meme".encode()))])
    assert answers == ask(handler, context, [row(text=bytearray("é meme".encode()))])[0]


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_picture_comes_as_bytes_or_bytearray(handler: MemeHandler, context: Context, kind: Any) -> None:
    assert ask(handler, context, [row(kind(picture()))])[1] == [(200, None)]


@pytest.mark.parametrize(
    ("parts", "status", "code", "detail"),
    [
        ({}, 400, "missing_part", "Missing image or text"),
        ({"body": bytearray(b"raw")}, 400, "missing_part", "Missing image or text"),
        ({"image": bytearray(picture())}, 400, "missing_part", "Missing image or text"),
        ({"text": bytearray(b"a")}, 400, "missing_part", "Missing image or text"),
        (row(bytearray(b"")), 400, "missing_part", "image is empty (0 bytes)"),
        (row(text={"text": "a"}), 400, "missing_part", "Missing image or text"),
        (row(text=["a"]), 400, "missing_part", "Missing image or text"),
        (row(image={"data": "a"}), 400, "missing_part", "Missing image or text"),
        (row(image="é, not a picture"), 415, "unsupported_image", "17 bytes"),
        (row(text=bytearray(b"ab\xff")), 400, "invalid_text", "byte 2 is 0xff"),
        (row(text="ab\ud83d"), 400, "invalid_text", "character 2"),
        (row(text="zq " * 2000), 413, "text_too_long", "the limit is 2400"),
        (row(bytearray(picture(size=(8000, 6251), image_format="GIF"))), 422, "image_too_large", "8000x6251"),
    ],
)  # fmt: skip
def test_what_a_client_can_send_is_refused_in_words(
    handler: MemeHandler, context: Context, parts: dict[str, Any], status: int, code: str, detail: str
) -> None:
    (answer,), ((actual_status, _),) = ask(handler, context, [parts])
    assert (actual_status, answer["code"]) == (status, code)
    assert detail in answer["detail"]


def test_an_empty_caption_is_judged(handler: MemeHandler, context: Context) -> None:
    assert ask(handler, context, [row(text=bytearray(b""))])[1] == [(200, None)]


def test_every_error_has_a_status_and_an_ascii_phrase() -> None:
    """A byte that is not ASCII kills the worker."""
    kinds = [each for each in errors.MemeError.__subclasses__() if each.__module__ == errors.__name__]
    assert len(kinds) == 8
    assert all(400 <= each.status < 600 and each.status.phrase.isascii() for each in kinds)


def test_torchserve_puts_statuses_and_answers_on_the_wire(handler: MemeHandler, context: Context) -> None:
    from ts.protocol.otf_message_handler import create_predict_response  # noqa: PLC0415, TID251

    answers, _ = ask(handler, context, [row(), row(b"no picture")])
    message = bytes(create_predict_response(answers, {0: "a", 1: "b"}, "Prediction success", 200, context=context))
    assert struct.pack("!i", 415) + struct.pack("!i", 22) + b"Unsupported Media Type" in message
    assert b'"unsupported_image"' in message
    assert b'"probability"' in message


def test_a_lone_request_may_ask_for_a_description(handler: MemeHandler, context: Context) -> None:
    (answer,), statuses = ask(handler, context, [{}], {0: {"describe": "True"}})
    assert answer == {"version": "1.2.3", "backbone": "small", "threshold": 0.375, "operating_points": {}}
    assert statuses == [(200, None)]


def test_in_company_nobody_is_given_a_description(handler: MemeHandler, context: Context) -> None:
    for index in (0, 1):
        answers, _ = ask(handler, context, [row(), row()], {index: {"describe": "True"}})
        assert ["prediction" in answer for answer in answers] == [True, True]


@pytest.mark.parametrize("headers", [{"explain": "True"}, {"describe": "true"}, {"describe": {"content-type": "a/b"}}])
def test_other_headers_change_nothing(handler: MemeHandler, context: Context, headers: dict[str, str]) -> None:
    assert ask(handler, context, [row()], {0: headers}) == ask(handler, context, [row()])


def test_a_meme_on_which_the_model_fails_is_refused_alone(
    handler: MemeHandler, context: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The model is made to fail on black pictures; what it says of them is not for the client."""
    predict = handler._predictor.predict

    def fail_on_black(memes: list[PreparedMeme]) -> list[Verdict]:
        if any(not meme.pixels_CHW.any() for meme in memes):
            raise RuntimeError("secret of the house")
        return predict(memes)

    monkeypatch.setattr(handler._predictor, "predict", fail_on_black)
    memes = [row(bytearray(picture(colour))) for colour in ("red", "black", "white")]
    answers, statuses = ask(handler, context, memes)
    assert statuses == [(200, None), (500, "Internal Server Error"), (200, None)]
    assert answers[1] == {"code": "internal", "detail": "the model failed on this meme"}
    assert "secret of the house" in caplog.text
    assert [answers[0], answers[2]] == [pytest.approx(ask(handler, context, [memes[i]])[0][0]) for i in (0, 2)]


def test_a_meme_that_cannot_be_prepared_for_reasons_of_ours_is_refused_alone(
    handler: MemeHandler, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = handler._predictor.prepare

    def fail_on_text(image: bytes, text: bytes, **options: Any) -> PreparedMeme:
        if text == b"fail":
            raise MemoryError
        return prepare(image, text, **options)

    monkeypatch.setattr(handler._predictor, "prepare", fail_on_text)
    answers, statuses = ask(handler, context, [row(text=bytearray(b"fail")), row()])
    assert [status for status, _ in statuses] == [500, 200]
    assert answers[0]["code"] == "internal"


def test_large_pictures_that_come_too_many_at_once_are_to_be_sent_again(model_dir: Path) -> None:
    context, handler = make_context(model_dir, settings={"large_pictures_s": -1}), MemeHandler()
    handler.initialize(context)
    large = io.BytesIO()
    Image.new("RGBA", (5000, 5000)).save(large, "PNG")
    answers, statuses = ask(handler, context, [row(image=bytearray(large.getvalue())), row()])
    assert [status for status, _ in statuses] == [503, 200]
    assert (answers[0]["code"], answers[0]["detail"]) == (
        "busy",
        "image (PNG, 5000x5000) is too large to be decoded beside others now; send it again",
    )


def test_an_error_that_is_answered_keeps_nothing_of_its_picture(handler: MemeHandler) -> None:
    error = handler._prepare((picture()[:-30], b"a"), math.inf)
    assert isinstance(error, errors.DamagedImageError)
    assert (error.__traceback__, error.__context__, error.__cause__) == (None, None, None)


def test_loading_warms_up_the_batch_size_of_torchserve(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(Predictor, "warm_up", lambda _, batch_size: sizes.append(batch_size))
    for batch_size in (4, None):
        MemeHandler().initialize(make_context(model_dir, batch_size=batch_size))
    assert sizes == [4, 1]


def test_the_pixel_limit_comes_from_model_config(model_dir: Path) -> None:
    context, handler = make_context(model_dir, settings={"max_pixels": 10_000}), MemeHandler()
    handler.initialize(context)
    (answer, _), statuses = ask(handler, context, [row(picture(size=(101, 100))), row(picture(size=(100, 100)))])
    assert [status for status, _ in statuses] == [422, 200]
    assert "10100 pixels (101x100); the limit is 10000" in answer["detail"]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"max_pixel": 1}, TypeError, "max_pixel"),
        ({"max_pixels": "many"}, ValueError, "max_pixels is 'many'; it must be a whole number"),
        ({"decode_timeout_s": "long"}, ValueError, "decode_timeout_s is 'long'; it must be a number"),
        ([1], TypeError, "not a mapping"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    model_dir: Path, settings: object, error: type[Exception], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(error, match=message):
        MemeHandler().initialize(make_context(model_dir, settings=settings))
    assert f"{LOAD_FAILURE} version 1.2.3: " in caplog.text


def test_a_damaged_archive_says_so_and_does_not_load(
    model_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(model_dir, tmp_path / "damaged")
    weights = folder / "bundle" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(errors.BundleError):
        MemeHandler().initialize(make_context(folder))
    (record,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert record.getMessage().startswith("memeguard cannot load version 1.2.3: ")
    assert "model.safetensors is damaged" in record.getMessage()


def test_loading_silences_the_lines_that_torchserve_logs_per_request(model_dir: Path) -> None:
    logging.getLogger().setLevel(logging.INFO)  # as ts/model_service_worker.py does
    MemeHandler().initialize(make_context(model_dir))
    assert logging.getLogger().level == logging.WARNING


def test_no_line_is_logged_per_request_but_what_java_counts_by(
    handler: MemeHandler, context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    ask(handler, context, [row(), row(b"no picture")])
    assert all(record.message.startswith("[METRICS]") for record in caplog.records)


def test_answers_are_json(handler: MemeHandler, context: Context) -> None:
    answers, _ = ask(handler, context, [row(), row(b"no picture")])
    assert json.loads(json.dumps(answers, allow_nan=False)) == answers

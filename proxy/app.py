"""Serve POST /predict, as the original service did, by asking TorchServe."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, jsonify, request
from flask.json.provider import DefaultJSONProvider

from proxy.admission import AdmissionLimits, overloaded
from proxy.answers import explain_failure, read_prediction
from proxy.body import RequestBody
from proxy.connections import is_gone
from proxy.cors import allow_origins, cors_headers
from proxy.health import Readiness, health_routes
from proxy.held_bodies import HeldBodies
from proxy.meme_form import read_meme
from proxy.problems import Problem, answer_errors_with_problems, render_problem
from proxy.raw_answers import problem_response
from proxy.request_id import return_request_ids
from proxy.slots import Slots
from proxy.torchserve_client import TorchServeClient
from proxy.upstream import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from proxy.meme_form import Meme

_HEALTH_CONNECTIONS = 4
_DEFAULT_LIMITS = AdmissionLimits()


class _JSONProvider(DefaultJSONProvider):
    sort_keys = False  # the worker's order: prediction, probability, then the rest


def create_app(
    *,
    inference_url: str = "http://127.0.0.1:8080",
    management_url: str = "http://127.0.0.1:8081",
    key_file: str = "run/key_file.json",
    model_name: str = "meme",
    max_body_bytes: int = 16 * 2**20,
    max_text_bytes: int = 16 * 2**10,
    stall_timeout_s: float = 10.0,
    body_timeout_s: float = 60.0,
    connect_timeout_s: float = 1.0,
    send_timeout_s: float = 10.0,
    read_timeout_s: float = 30.0,
    slots: int = _DEFAULT_LIMITS.slots,
    slot_bytes: int = _DEFAULT_LIMITS.slot_bytes,
    max_waiting: int = _DEFAULT_LIMITS.max_waiting,
    max_wait_s: float = _DEFAULT_LIMITS.max_wait_s,
    body_bytes: int = _DEFAULT_LIMITS.body_bytes,
    allowed_origins: Collection[str] = (),
) -> Flask:
    """Build the WSGI application, as in ``gunicorn "proxy.app:create_app(key_file='run/key_file.json')"``.

    Args:
        inference_url: URL of TorchServe's inference API.
        management_url: URL of TorchServe's management API, where expired keys are renewed.
        key_file: The ``key_file.json`` in TorchServe's working directory.
        model_name: Name of the model; its default version is asked.
        max_body_bytes: Largest request body. TorchServe's ``max_request_size`` must not be smaller.
        max_text_bytes: Longest text, in UTF-8.
        stall_timeout_s: Longest pause of a client in the middle of its request.
        body_timeout_s: Longest time to receive the whole form; the default allows 16 MiB at 2 Mbit/s.
        connect_timeout_s: Longest time until TorchServe accepts a connection.
        send_timeout_s: Longest time until TorchServe has received a meme.
        read_timeout_s: Longest time until TorchServe answers.
        slots: Memes that each process sends to TorchServe at once; the others wait here, where they can be cancelled.
        slot_bytes: Bytes of forms that each process sends to TorchServe at once.
        max_waiting: Memes that may wait in each process; fewer if the model is slow. The next one is answered 503.
        max_wait_s: Longest time that a meme waits for a slot.
        body_bytes: Bytes of all forms that each process holds in memory.
        allowed_origins: Origins whose pages may read the answers, such as ``https://example.org``; ``*`` allows all.

    Raises:
        ValueError: One form of ``max_body_bytes`` does not fit into ``body_bytes``.
    """
    if body_bytes < max_body_bytes:
        raise ValueError(f"body_bytes is {body_bytes}; it must be at least max_body_bytes, which is {max_body_bytes}")
    limits = AdmissionLimits(
        slots=slots, slot_bytes=slot_bytes, max_waiting=max_waiting, max_wait_s=max_wait_s, body_bytes=body_bytes
    )
    bodies, free_slots = HeldBodies(limits), Slots(limits)
    client = TorchServeClient(
        inference_url=inference_url,
        management_url=management_url,
        key_file=key_file,
        model_name=model_name,
        pool_size=slots + _HEALTH_CONNECTIONS,
        connect_timeout_s=connect_timeout_s,
        send_timeout_s=send_timeout_s,
        read_timeout_s=read_timeout_s,
    )
    app = Flask(__name__, static_folder=None)
    app.json = _JSONProvider(app)
    app.extensions["torchserve_client"] = client
    app.extensions["held_bodies"] = bodies
    app.extensions["slots"] = free_slots
    app.extensions["make_refusal"] = _refusals(allowed_origins)
    readiness = Readiness(client, free_slots)
    answer_errors_with_problems(app)
    app.register_error_handler(UpstreamError, lambda error: render_problem(explain_failure(error)))
    return_request_ids(app)
    allow_origins(app, allowed_origins)
    _bound_bodies(app, bodies, max_body_bytes, stall_timeout_s, body_timeout_s)
    app.register_blueprint(health_routes(readiness))

    @app.post("/predict")
    def predict() -> Response:
        body: RequestBody = g.body
        with body.held():
            content_type = request.headers.get("Content-Type", "")
            meme = read_meme(content_type, body.chunks(), max_text_bytes=max_text_bytes)
            with free_slots.take(len(meme.image) + len(meme.text), lambda: is_gone(body.connection)):
                return jsonify(_predict(client, readiness, meme))

    return app


def _predict(client: TorchServeClient, readiness: Readiness, meme: Meme) -> dict[str, Any]:
    try:
        answer = client.predict(image=meme.image, text=meme.text)
        prediction = read_prediction(answer)
    except (UpstreamError, Problem) as error:
        if isinstance(error, UpstreamError) or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            readiness.note(None)
        raise
    readiness.note(prediction)
    return prediction


def _refusals(allowed_origins: Collection[str]) -> Callable[[str, str], bytes]:
    """Return a function that writes the 503 for a request that Flask never sees, from its id and its Origin."""
    problem = overloaded()

    def make(request_id: str, origin: str) -> bytes:
        headers = problem.headers | dict(cors_headers(origin, allowed_origins))
        return problem_response(problem.status, problem.code, problem.detail, request_id=request_id, headers=headers)

    return make


def _bound_bodies(
    app: Flask, bodies: HeldBodies, max_bytes: int, stall_timeout_s: float, total_timeout_s: float
) -> None:
    """Give each request its body as ``g.body``, the only way to read it, and drain what was not read."""

    @app.before_request
    def open_body() -> None:
        g.body = RequestBody(
            request,
            max_bytes=max_bytes,
            stall_timeout_s=stall_timeout_s,
            total_timeout_s=total_timeout_s,
            bodies=bodies,
        )

    @app.after_request
    def drain_body(response: Response) -> Response:
        g.body.drain()
        return response

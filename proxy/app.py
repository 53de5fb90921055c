"""Serve the original service's POST /predict by asking TorchServe.

Does not know the model, nor what a picture is.
"""

from __future__ import annotations

from flask import Flask, Response, g, jsonify, request
from flask.json.provider import DefaultJSONProvider

from proxy.answers import explain_failure, read_prediction
from proxy.body import RequestBody
from proxy.health import health_routes
from proxy.meme_form import read_meme
from proxy.problems import answer_errors_with_problems, render_problem
from proxy.request_id import return_request_ids
from proxy.torchserve_client import TorchServeClient
from proxy.upstream import UpstreamError


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
    read_timeout_s: float = 30.0,
    pool_size: int = 16,
) -> Flask:
    """Build the WSGI application, as in ``gunicorn "proxy.app:create_app(key_file='run/key_file.json')"``.

    Args:
        inference_url: TorchServe's inference API.
        management_url: TorchServe's management API, where expired keys are renewed.
        key_file: The ``key_file.json`` in TorchServe's working directory.
        model_name: The model to ask; always its default version.
        max_body_bytes: What a whole request may measure. TorchServe's ``max_request_size`` must not be smaller.
        max_text_bytes: What the text may measure in UTF-8.
        stall_timeout_s: How long a client may send nothing in the middle of its request.
        body_timeout_s: How long a client may take for the whole form: the default is 16 MiB at 2 Mbit/s.
        connect_timeout_s: How long TorchServe may take to accept a connection.
        read_timeout_s: How long TorchServe may take to answer.
        pool_size: Connections kept open to TorchServe: the number of threads.
    """
    client = TorchServeClient(
        inference_url=inference_url,
        management_url=management_url,
        key_file=key_file,
        model_name=model_name,
        pool_size=pool_size,
        connect_timeout_s=connect_timeout_s,
        read_timeout_s=read_timeout_s,
    )
    app = Flask(__name__, static_folder=None)
    app.json = _JSONProvider(app)
    app.extensions["torchserve_client"] = client
    answer_errors_with_problems(app)
    app.register_error_handler(UpstreamError, lambda error: render_problem(explain_failure(error)))
    return_request_ids(app)
    _bound_bodies(app, max_body_bytes, stall_timeout_s, body_timeout_s)
    app.register_blueprint(health_routes(client))

    @app.post("/predict")
    def predict() -> Response:
        chunks = g.body.chunks()
        meme = read_meme(request.headers.get("Content-Type", ""), chunks, max_text_bytes=max_text_bytes)
        return jsonify(read_prediction(client.predict(image=meme.image, text=meme.text)))

    return app


def _bound_bodies(app: Flask, max_bytes: int, stall_timeout_s: float, total_timeout_s: float) -> None:
    """Give each request its body as ``g.body``, the only way to read it, and leave nothing of it unread."""

    @app.before_request
    def open_body() -> None:
        g.body = RequestBody(
            request, max_bytes=max_bytes, stall_timeout_s=stall_timeout_s, total_timeout_s=total_timeout_s
        )

    @app.after_request
    def drain_body(response: Response) -> Response:
        g.body.drain()
        return response

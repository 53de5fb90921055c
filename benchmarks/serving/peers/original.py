"""Flask's development server, one meme at a time, as in the service that this project replaces.

    python original.py BACKBONE PORT

It makes no batches: a request waits for the one before it.
"""

from __future__ import annotations

import sys
from typing import Any

from clip import ClipClassifier
from flask import Flask, request

app = Flask(__name__)


@app.post("/predict")
def predict() -> tuple[dict[str, Any], int]:
    """Classify one meme."""
    if "image" not in request.files or "text" not in request.form:
        return {"error": "Missing image or text"}, 400
    meme = classifier.prepare(request.files["image"].read(), request.form["text"])
    return classifier.predict([meme])[0], 200


if __name__ == "__main__":
    classifier = ClipClassifier(sys.argv[1])
    app.run(host="127.0.0.1", port=int(sys.argv[2]), threaded=False)

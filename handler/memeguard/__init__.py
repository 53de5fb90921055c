"""memeguard: from a meme's picture and text to a verdict, in the same way in training, evaluation and serving."""

import os
import sys

__version__ = "0.3.0"

# No process talks to a host that the user did not name. These switches work if they are set before the libraries are
# imported, and every import of memeguard runs this file first.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # with it, OpenVINO and NNCF report to Google
os.environ.setdefault("NNCF_CI", "1")  # NNCF's own switch
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"  # or transformers asks a service to convert a pickle

"""memeguard: from a meme's picture and words to a verdict, the same way in training, evaluation and serving.

Knows nothing of TorchServe, HTTP, data sets or optimizers.
"""

import os
import sys

__version__ = "0.3.0"

# No process talks to anybody but whom the user named. These switches work if they come before the libraries' import,
# and every import of ours comes through here.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # with it, OpenVINO and NNCF report to Google
os.environ.setdefault("NNCF_CI", "1")  # NNCF's own switch
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"  # or transformers asks a service to convert a pickle

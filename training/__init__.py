"""From labelled memes to a fine-tuned bundle."""

import os

import memeguard  # noqa: F401 - first: it switches off the telemetry of other libraries
from memes.user_cache import user_cache

# Otherwise matplotlib writes into two more folders of the user's home.
os.environ.setdefault("MPLCONFIGDIR", str(user_cache() / "matplotlib"))

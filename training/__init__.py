"""From labelled memes to a fine-tuned bundle and its archive. Knows nothing of servers."""

import os

import memeguard  # noqa: F401 - first of all, as it switches off what other libraries report to their makers
from memes.user_cache import user_cache

# Or matplotlib writes into two more folders of the user's home.
os.environ.setdefault("MPLCONFIGDIR", str(user_cache() / "matplotlib"))

"""From labelled memes to a fine-tuned bundle and its archive. Knows nothing of servers."""

import memeguard  # noqa: F401 - first of all, as it switches off what other libraries report to their makers

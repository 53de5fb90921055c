"""Cache verdicts, because memes are reposted: the same picture and caption need no second inference.

A cache belongs to one model in one process and is lost with it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from memeguard.predictor import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Meme = tuple[bytes | None, bytes | str | None]  # picture and caption as they were sent; each may be missing
Outcome = Verdict | Exception


class RepostCache:
    """The verdicts on the latest memes; not safe to use from several threads."""

    def __init__(self, max_entries: int) -> None:
        """Keep up to ``max_entries`` verdicts, of some 300 bytes each; 0 switches the cache off.

        Raises:
            ValueError: ``max_entries`` is not a whole number of at least 0.
        """
        if type(max_entries) is not int or max_entries < 0:
            raise ValueError(f"repost_cache is {max_entries!r}; it must be a whole number of at least 0")
        self._max_entries = max_entries
        self._verdicts: OrderedDict[bytes, Verdict] = OrderedDict()  # the latest last
        self._num_hits = self._num_misses = 0

    def answer(self, memes: Sequence[Meme], predict: Callable[[Sequence[Meme]], Sequence[Outcome]]) -> list[Outcome]:
        """Return an outcome for each of ``memes``, in order; call ``predict`` once, with those that are not cached.

        Errors are not cached, because a picture that takes too long now may be quick another time.
        """
        if not self._max_entries:
            return list(predict(memes))
        keys = [_key(meme) for meme in memes]
        known = {key: verdict for key in keys if (verdict := self._verdicts.get(key)) is not None}
        new = {key: meme for key, meme in zip(keys, memes, strict=True) if key not in known}
        predicted = dict(zip(new, predict(list(new.values())), strict=True)) if new else {}
        self._num_hits += len(memes) - len(new)
        self._num_misses += len(new)
        outcomes = [known[key] if key in known else predicted[key] for key in keys]
        for key, outcome in zip(keys, outcomes, strict=True):
            if isinstance(outcome, Verdict):
                self._verdicts[key] = outcome
                self._verdicts.move_to_end(key)
        while len(self._verdicts) > self._max_entries:
            self._verdicts.popitem(last=False)
        return outcomes

    def take_counts(self) -> dict[str, int]:
        """Return hits and misses since the last call; of two equal memes in one batch, the second is a hit."""
        counts = {"RepostCacheHits": self._num_hits, "RepostCacheMisses": self._num_misses}
        self._num_hits = self._num_misses = 0
        return counts


def _key(meme: Meme) -> bytes:
    """Return the SHA-256 of picture and text, with the picture's length first, so that no two memes share a key."""
    image, text = meme
    # A missing part differs from an empty one, although both are refused.
    size = -1 if image is None else len(image)
    digest = hashlib.sha256(size.to_bytes(8, "big", signed=True) + (b"-" if text is None else b"+"))
    digest.update(image or b"")
    digest.update(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text or b"")
    return digest.digest()

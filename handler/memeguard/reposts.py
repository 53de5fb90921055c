"""Remember verdicts, for memes are reposted: the same picture and caption need not be judged twice.

Does not know how a verdict is found. A cache belongs to one model in one process, and forgets with it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from memeguard.predictor import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Meme = tuple[bytes | None, bytes | str | None]  # picture and caption as they came, each possibly missing
Outcome = Verdict | Exception


class RepostCache:
    """The verdicts on the memes seen last; not for several threads at once."""

    def __init__(self, max_entries: int) -> None:
        """Keep ``max_entries`` verdicts, of some 300 bytes each; with 0 nothing is kept, compared or hashed.

        Raises:
            ValueError: ``max_entries`` is no whole number of at least 0.
        """
        if type(max_entries) is not int or max_entries < 0:
            raise ValueError(f"repost_cache is {max_entries!r}; it must be a whole number of at least 0")
        self._max_entries = max_entries
        self._verdicts: OrderedDict[bytes, Verdict] = OrderedDict()  # the latest last
        self._num_hits = self._num_misses = 0

    def answer(self, memes: Sequence[Meme], judge: Callable[[Sequence[Meme]], Sequence[Outcome]]) -> list[Outcome]:
        """An outcome for each of ``memes``, in order; ``judge`` is asked for those that are new, all at once.

        Errors are not remembered: what takes too long now may be quick another time.
        """
        if not self._max_entries:
            return list(judge(memes))
        keys = [_key(meme) for meme in memes]
        known = {key: verdict for key in keys if (verdict := self._verdicts.get(key)) is not None}
        new = {key: meme for key, meme in zip(keys, memes, strict=True) if key not in known}
        judged = dict(zip(new, judge(list(new.values())), strict=True)) if new else {}
        self._num_hits += len(memes) - len(new)
        self._num_misses += len(new)
        outcomes = [known[key] if key in known else judged[key] for key in keys]
        for key, outcome in zip(keys, outcomes, strict=True):
            if isinstance(outcome, Verdict):
                self._verdicts[key] = outcome
                self._verdicts.move_to_end(key)
        while len(self._verdicts) > self._max_entries:
            self._verdicts.popitem(last=False)
        return outcomes

    def take_counts(self) -> dict[str, int]:
        """Memes answered without judging them (the second of two in one batch is one), and those judged, since last."""
        counts = {"RepostCacheHits": self._num_hits, "RepostCacheMisses": self._num_misses}
        self._num_hits = self._num_misses = 0
        return counts


def _key(meme: Meme) -> bytes:
    """SHA-256 of both halves, the first one's length before it; nobody can make two memes with the same one."""
    image, text = meme
    # What is missing is unlike what is empty, though both are refused.
    size = -1 if image is None else len(image)
    digest = hashlib.sha256(size.to_bytes(8, "big", signed=True) + (b"-" if text is None else b"+"))
    digest.update(image or b"")
    digest.update(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text or b"")
    return digest.digest()

"""The memes that the soak and the faults send, and whether the answers are right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import requests

from benchmarks.serving.memes import SentMeme, make_requests, read_memes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.open_loop import Answer

_REPOSTS: Final = 5  # every so many requests are byte for byte one of before
_SAME: Final = 0.02  # of a probability: batches of another size round differently


@dataclass(frozen=True, kw_only=True)
class Memes:
    """Drawn memes and the requests made of them: four in five distinct in their bytes, the others reposts."""

    memes: Sequence[SentMeme]
    name: str = "traffic"

    def request(self, number: int) -> bytes:
        """The bytes of the n-th request, which asks to close the connection."""
        number = self._first(number)
        make = make_requests([self.memes[self.index(number)]], "/predict", {"Connection": "close"}, cell=self.name)
        return make(number)

    def index(self, number: int) -> int:
        """Which meme the n-th request is about."""
        return self._first(number) % len(self.memes)

    @staticmethod
    def _first(number: int) -> int:
        """The request of which the n-th is a repost, or itself."""
        return number - number % (4 * _REPOSTS) if number % _REPOSTS == 0 else number


def draw_memes(num: int = 64, *, name: str = "traffic") -> Memes:
    """Memes drawn from a seed."""
    return Memes(memes=read_memes(None, num), name=name)


class Verdicts:
    """What the model says of each meme while nothing disturbs it."""

    def __init__(self, memes: Memes, port: int) -> None:
        self._memes = memes
        self._known = [_ask(port, meme) for meme in memes.memes]

    def is_right(self, answer: Answer) -> bool:
        """Whether a 200 says the same as ever."""
        known = self._known[self._memes.index(answer.number)]
        if not isinstance(answer.body, dict) or abs(answer.body["probability"] - known["probability"]) > _SAME:
            return False
        harmless = answer.body["probability"] >= answer.body["threshold"]
        return (answer.body["prediction"] == "Non-offensive") == harmless


def _ask(port: int, meme: SentMeme) -> Any:
    form = {"files": {"image": ("meme.jpg", meme.image)}, "data": {"text": meme.text}}
    answer = requests.post(f"http://127.0.0.1:{port}/predict", timeout=30, **form)
    assert answer.status_code == 200, answer.text
    return answer.json()

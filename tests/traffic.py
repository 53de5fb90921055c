"""Memes at a steady rate, whoever answers how: what the soak and the faults are run under.

Not ``benchmarks.serving.load``, which keeps N clients busy: it slows down with the server, and reads no headers.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.serving.memes import SentMeme, make_requests, read_memes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NO_ANSWER: Final = 0  # the connection was refused, reset or closed
TIMED_OUT: Final = -1  # the client's patience ended
_MAX_OPEN: Final = 2_000
_NUM_SOURCES: Final = 32  # loopback addresses to come from: a closed connection keeps its port for a minute
_REPOSTS: Final = 5  # every so many requests are byte for byte one of before
_SAME: Final = 0.02  # of a probability: batches of another size round differently


class Answer(NamedTuple):
    """One request: which, when it began (monotonic clock), how long it took, and what came back."""

    number: int
    began_s: float
    seconds: float
    status: int
    body: Any
    retry_after: str

    @property
    def ended_s(self) -> float:
        """When it ended, on the same clock."""
        return self.began_s + self.seconds


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


async def send(port: int, request: bytes, number: int, *, patience_s: float) -> Answer:
    """Send one request over a connection of its own and read its answer."""
    began_s = time.monotonic()

    def answer(status: int, body: Any = None, retry_after: str = "") -> Answer:
        return Answer(number, began_s, time.monotonic() - began_s, status, body, retry_after)

    try:
        async with asyncio.timeout(patience_s):
            return answer(*_parse(await _exchange(port, request, number)))
    except TimeoutError:
        return answer(TIMED_OUT)
    except OSError:
        return answer(NO_ANSWER)


async def _exchange(port: int, request: bytes, number: int) -> bytes:
    source = (f"127.0.0.{1 + number % _NUM_SOURCES}", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=source)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()


def _parse(response: bytes) -> tuple[int, Any, str]:
    head, _, body = response.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/1.1 "):
        return NO_ANSWER, None, ""
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    return int(lines[0].split()[1]), content, headers.get("retry-after", "")


async def send_at_rate(
    port: int, make_request: Callable[[int], bytes], *, rate: float, stop: Callable[[float], bool], patience_s: float
) -> list[Answer]:
    """Send ``rate`` requests a second, answered or not, until ``stop(seconds)``; at most some thousands at once."""
    begin = time.monotonic()
    tasks: list[asyncio.Task[Answer]] = []
    waiting: set[asyncio.Task[Answer]] = set()
    while not stop(elapsed := time.monotonic() - begin):
        while len(tasks) < elapsed * rate and len(waiting) < _MAX_OPEN:
            number = len(tasks)
            task = asyncio.create_task(send(port, make_request(number), number, patience_s=patience_s))
            tasks.append(task)
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        await asyncio.sleep(min(0.01, 1 / rate))
    return await asyncio.gather(*tasks)


class Verdicts:
    """What the model says of each meme while nothing disturbs it."""

    def __init__(self, memes: Memes, port: int) -> None:
        self._memes = memes
        self._known = asyncio.run(self._ask(port))

    async def _ask(self, port: int) -> dict[int, Any]:
        known: dict[int, Any] = {}
        for index, meme in enumerate(self._memes.memes):
            make = make_requests([meme], "/predict", {"Connection": "close"}, cell="verdicts")
            answer = await send(port, make(index), index, patience_s=30)
            assert answer.status == 200, answer
            known[index] = answer.body
        return known

    def is_right(self, answer: Answer) -> bool:
        """Whether a 200 says the same as ever."""
        known = self._known[self._memes.index(answer.number)]
        if not isinstance(answer.body, dict) or abs(answer.body["probability"] - known["probability"]) > _SAME:
            return False
        harmless = answer.body["probability"] >= answer.body["threshold"]
        return (answer.body["prediction"] == "Non-offensive") == harmless

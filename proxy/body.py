"""Read a request's body within limits of size and time, in memory alone."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

from proxy.admission import overloaded
from proxy.problems import Problem
from proxy.read_deadlines import ReadDeadlines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Request

    from proxy.held_bodies import HeldBodies, Reader
    from proxy.read_deadlines import Deadline

CHUNK_BYTES = 64 * 1024
# How much of an unwanted body is read and dropped. Closing a connection with unread bytes resets it, and many clients
# (requests among them) then never see the answer; but no client can make the server read for ever.
MAX_DRAINED_BYTES = 64 * 2**20
MAX_DRAIN_S = 5.0
_DEADLINES = ReadDeadlines()


class RequestBody:
    """One request's body, read once.

    Args:
        request: The request; nothing else may read its stream.
        max_bytes: Largest size of the body.
        stall_timeout_s: Longest pause of the client.
        total_timeout_s: Longest time for the whole body, however steadily it arrives.
        bodies: Counts the bytes held in memory.
    """

    def __init__(
        self,
        request: Request,
        *,
        max_bytes: int,
        stall_timeout_s: float,
        total_timeout_s: float,
        bodies: HeldBodies,
    ) -> None:
        self._stream = request.stream
        self._announced_bytes = request.content_length
        self._max_bytes = max_bytes
        self._stall_timeout_s = stall_timeout_s
        self._total_timeout_s = total_timeout_s
        self._bodies = bodies
        self._reader: Reader | None = None
        self._failed = False
        self._deadline: Deadline | None = None
        self._ended = False
        self.connection: socket.socket | None = request.environ.get("gunicorn.socket")
        if self.connection is not None:  # gunicorn waits for a body without a limit
            self.connection.settimeout(stall_timeout_s)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Count what ``chunks`` yields until the block ends.

        Raises:
            Problem: 503 if too many bodies are being read.
        """
        with self._bodies.reading(self._cut_off) as self._reader:
            yield

    def chunks(self) -> Iterator[bytes]:
        """Yield the body piece by piece.

        Raises:
            Problem: 413 above the limit, announced or not; 408 if it takes too long; 400 if it is cut off or garbled.
        """
        if self._announced_bytes is not None and self._announced_bytes > self._max_bytes:
            raise self._too_large(f"{self._announced_bytes} bytes")
        if self._reader is None:
            raise RuntimeError("a body can be read within held() only")
        num_left = self._max_bytes
        with self._time_limit(self._total_timeout_s):
            while chunk := self._read():
                num_left -= len(chunk)
                if num_left < 0:  # a chunked body does not announce its length
                    raise self._too_large(f"over {self._max_bytes} bytes")
                self._bodies.received(self._reader, len(chunk))
                yield chunk
        self._reader.is_reading = False

    def drain(self) -> None:
        """Read and drop the rest, within bounds, so that the client gets to read its answer."""
        if self._ended:  # as in nearly every request: no timer is needed
            return
        deadline = time.monotonic() + MAX_DRAIN_S
        num_left = MAX_DRAINED_BYTES
        with contextlib.suppress(Problem), self._time_limit(MAX_DRAIN_S):  # the answer is already decided
            while not self._failed and num_left > 0 and time.monotonic() < deadline:
                chunk = self._read()
                num_left = num_left - len(chunk) if chunk else 0

    @contextlib.contextmanager
    def _time_limit(self, seconds: float) -> Iterator[None]:
        """Close the connection for reading after ``seconds``; one read may wait for many single bytes in a row."""
        if self.connection is None or self._failed:
            yield
            return
        with _DEADLINES.limit(self.connection, seconds) as self._deadline:
            yield

    def _read(self) -> bytes:
        try:
            chunk = self._stream.read(CHUNK_BYTES)
        except Exception as error:  # each server has its own exceptions for a bad chunk, a reset, an early end
            self._failed = True  # the stream's position is unknown now, so it is not read again
            self._raise_if_cut_off(error)
            if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
                message = f"no byte of the body arrived for {self._stall_timeout_s} s"
                raise Problem(408, "request_timeout", message) from error
            raise Problem(400, "unreadable_body", "the body is cut off or its framing is broken") from error
        self._raise_if_cut_off(None)  # the connection was shut down here, which looks like the body's end
        self._ended = not chunk
        return chunk

    def _raise_if_cut_off(self, cause: Exception | None) -> None:
        if self._reader and self._reader.is_evicted:
            self._failed = True
            raise overloaded("the form was sent too slowly while the server had no room left; try again") from cause
        if self._deadline and self._deadline.passed:
            self._failed = True
            raise self._too_slow() from cause

    def _cut_off(self) -> None:
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RD)

    def _too_slow(self) -> Problem:
        return Problem(408, "request_timeout", f"the body took longer than {self._total_timeout_s} s")

    def _too_large(self, size: str) -> Problem:
        return Problem(413, "body_too_large", f"the request's body has {size}; the limit is {self._max_bytes} bytes")

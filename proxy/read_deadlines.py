"""Close connections for reading when their time is up, with one thread for all of them.

A timer for each request would cost as much as reading it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOK_EVERY_S = 0.25


@dataclass(eq=False)
class Deadline:
    """The time, by ``time.monotonic``, at which a connection is closed for reading, and whether that has happened."""

    connection: socket.socket
    at_s: float
    passed: bool = False


class ReadDeadlines:
    """All deadlines of a process; the thread ends when there are none, and the next deadline starts another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: set[Deadline] = set()
        self._is_watched = False

    @contextlib.contextmanager
    def limit(self, connection: socket.socket, seconds: float) -> Iterator[Deadline]:
        """Close ``connection`` for reading if the block takes ``seconds``, or up to 0.25 s more."""
        deadline = Deadline(connection, time.monotonic() + seconds)
        with self._lock:
            self._pending.add(deadline)
            if not self._is_watched:
                self._is_watched = True
                threading.Thread(target=self._watch, name="read-deadlines", daemon=True).start()
        try:
            yield deadline
        finally:
            with self._lock:
                self._pending.discard(deadline)

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY_S)
            now = time.monotonic()
            with self._lock:  # held while closing, so that no connection is closed whose block has ended
                for deadline in [each for each in self._pending if each.at_s <= now]:
                    self._pending.discard(deadline)
                    deadline.passed = True
                    with contextlib.suppress(OSError):
                        deadline.connection.shutdown(socket.SHUT_RD)
                if not self._pending:
                    self._is_watched = False
                    return

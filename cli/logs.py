"""Write a program's output to files of limited size, at a limited rate, without delaying the program.

One thread reads the program's pipe, another one writes. Lines that cannot be written in time, because there are too
many or the disk is full or hangs, are left out and counted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import threading
import time
from collections import deque
from logging.handlers import RotatingFileHandler
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import TextIOWrapper
    from pathlib import Path

MAX_FILE_BYTES = 4 * 2**20
NUM_OLD_FILES = 3  # torchserve.log.1 to .3
MAX_BYTES_PER_S = 64 * 2**10
MAX_LINE_BYTES = 4096  # a longer line is split
_NUM_WAITING = 500  # lines between the two threads
_NUM_RECENT = 50
_JOIN_S = 2.0
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # a log is read on terminals


class Log:
    """Reads ``stream`` to its end and appends it to the file ``path``.

    Args:
        path: The file. Older files lie beside it; ``path.1`` is the latest of them.
        stream: The reading end of a program's pipe.
        alarms: Words to look for in every line, written or not.
    """

    def __init__(self, path: Path, stream: IO[bytes], *, alarms: Sequence[str] = ()) -> None:
        self.path = path
        self.alarm: str | None = None  # the first line with one of the words in it
        self._stream = stream
        self._alarms = alarms
        self._recent: deque[str] = deque(maxlen=_NUM_RECENT)
        self._waiting: queue.Queue[str | None] = queue.Queue(_NUM_WAITING)
        self._num_left_out = 0
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._read, self._write)]
        for thread in self._threads:
            thread.start()

    def recent(self) -> list[str]:
        """Return the latest lines, oldest first."""
        return list(self._recent)

    def close(self) -> None:
        """Wait until the stream has ended and all lines are written, but not for a disk that hangs."""
        for thread in self._threads:
            thread.join(_JOIN_S)

    def _read(self) -> None:
        with self._stream:
            self._keep_lines()
        with contextlib.suppress(queue.Full):  # if the disk hangs; the writer is a daemon thread
            self._waiting.put(None, timeout=_JOIN_S)

    def _keep_lines(self) -> None:
        budget, since = _Budget(MAX_BYTES_PER_S), time.monotonic()
        while line := self._stream.readline(MAX_LINE_BYTES):
            text = _CONTROL.sub("?", line.decode("utf-8", "replace").rstrip())
            self._recent.append(text)
            if self.alarm is None and any(words in text for words in self._alarms):
                self.alarm = text
            if not budget.takes(len(line)):
                self._num_left_out += 1
            elif self._num_left_out and time.monotonic() - since > 1:
                self._put(f"… {self._num_left_out} lines were left out here")
                self._num_left_out, since = 0, time.monotonic()
                self._put(text)
            else:
                self._put(text)
        if self._num_left_out:
            self._put(f"… {self._num_left_out} lines were left out here")

    def _put(self, text: str) -> None:
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            self._num_left_out += 1

    def _write(self) -> None:
        with contextlib.closing(_LogFile(self.path)) as file:
            while (text := self._waiting.get()) is not None:
                if num_lost := file.num_lost:
                    file.num_lost = 0
                    file.emit(logging.makeLogRecord({"msg": f"… {num_lost} lines were left out here"}))
                    if file.num_lost:  # the disk is still full
                        file.num_lost = num_lost
                file.emit(logging.makeLogRecord({"msg": text}))


class _Budget:
    """Allows a number of bytes a second, and as many at once after a pause."""

    def __init__(self, bytes_per_s: int) -> None:
        self._rate = bytes_per_s
        self._left: float = bytes_per_s
        self._at = time.monotonic()

    def takes(self, num_bytes: int) -> bool:
        now = time.monotonic()
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        if num_bytes > self._left:
            return False
        self._left -= num_bytes
        return True


class _LogFile(RotatingFileHandler):
    """A rotating file that only its owner may read; opened again after an error, such as a full disk."""

    def __init__(self, path: Path) -> None:
        self.num_lost = 0  # lines that could not be written
        super().__init__(path, maxBytes=MAX_FILE_BYTES, backupCount=NUM_OLD_FILES, encoding="utf-8", delay=True)

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=_open_private)  # type: ignore[return-value]

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's own signature
        self.num_lost += 1
        # A stream whose last bytes cannot be written cannot be closed either, and would fail for ever.
        stream, self.stream = self.stream, None
        with contextlib.suppress(OSError, ValueError):
            if stream:
                stream.close()


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

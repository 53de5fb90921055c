"""Limit the lines that a process logs, because clients cause them.

Imports nothing that gevent would have to patch.
"""

from __future__ import annotations

import logging
import time


class LineLimit(logging.Filter):
    """Passes a number of lines a second; the next line after a gap says how many were left out."""

    def __init__(self, lines_per_s: int = 20) -> None:
        super().__init__()
        self._lines_per_s = lines_per_s
        self._second = 0
        self._num_passed = 0
        self._num_left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether ``record`` is written."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._num_passed = second, 0
        if self._num_passed >= self._lines_per_s:
            self._num_left_out += 1
            return False
        self._num_passed += 1
        if self._num_left_out:
            record.msg, record.args = f"{record.getMessage()} [{self._num_left_out} lines before it were left out]", ()
            self._num_left_out = 0
        return True

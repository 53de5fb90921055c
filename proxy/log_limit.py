"""Bound how many lines a process logs: clients cause them, so nobody else can.

Imports nothing that gevent would have to patch. Files and their rotation are the business of whoever reads stderr.
"""

from __future__ import annotations

import logging
import time


class LineLimit(logging.Filter):
    """Lets through so many lines a second; the next one that passes says how many did not."""

    def __init__(self, lines_per_s: int = 20) -> None:
        super().__init__()
        self._lines_per_s = lines_per_s
        self._second = 0
        self._num_passed = 0
        self._num_left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether ``record`` may be written."""
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

"""Ports for the servers of a test."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def free_ports(num: int) -> list[int]:
    """Ports nobody listens on; each is held until all are known, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(num)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]

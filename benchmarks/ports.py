"""Ports for the servers that benchmarks and tests start."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Final

# Of `memeguard serve`, the proxy's first.
PORT_OPTIONS: Final = (
    "port",
    "inference-port",
    "management-port",
    "metrics-port",
    "grpc-inference-port",
    "grpc-management-port",
)


def free_ports(num: int) -> list[int]:
    """Find ports that nobody listens on; each is held until all are known, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(num)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]

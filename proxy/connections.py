"""Look at a client's connection without reading from it."""

from __future__ import annotations

import socket

# include/net/tcp_states.h: the client has closed its side (CLOSE_WAIT), or the connection is reset (CLOSE).
_GONE_STATES = frozenset({7, 8})


def is_gone(connection: socket.socket | None) -> bool:
    """Tell whether the client has closed its side of the connection, so that nobody would read an answer.

    A client that only shuts down its sending side looks the same and counts as gone; nginx does so, too.
    """
    if connection is None or not hasattr(socket, "TCP_INFO"):
        return False
    try:
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:  # closed, or no TCP
        return connection.fileno() < 0
    return state in _GONE_STATES

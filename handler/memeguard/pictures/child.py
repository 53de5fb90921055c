"""Decode pictures in child processes: a small process forks them, and the kernel limits each.

The small process imports only Pillow and NumPy, so that a fork takes a few milliseconds and shares little memory. All
end with the process that asks, because their sockets are closed then; a decoding process also ends when its picture's
time is over. None leaves a zombie.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import struct
from pathlib import Path
from typing import Any

from PIL import AvifImagePlugin

from memeguard.errors import MemeError
from memeguard.pictures.decoding import decode
from memeguard.pictures.header import Picture

_BASE_BYTES = 32 << 20  # memory of a forked process beside the picture's own
READY = b"r"  # sent by a decoding process that has started
PATIENCE = 4  # limit of elapsed time, as a multiple of the limit of computing time
_MIN_S = 0.001
_MAX_PICTURES = 1000  # that one process decodes; the next process starts without memory that decoders have leaked
_LENGTHS = struct.Struct(">IQ")  # lengths of head and data


def send(connection: socket.socket, head: dict[str, Any], data: bytes = b"") -> None:
    """Send ``head`` as JSON, and ``data`` after it."""
    text = json.dumps(head).encode()
    connection.sendall(_LENGTHS.pack(len(text), len(data)) + text)
    connection.sendall(data)


def receive(connection: socket.socket) -> tuple[dict[str, Any], bytearray]:
    """Receive a message of ``send``; raise ``EOFError`` if the other end closes before."""
    text_bytes, data_bytes = _LENGTHS.unpack(_read(connection, _LENGTHS.size))
    return json.loads(_read(connection, text_bytes)), _read(connection, data_bytes)


def _read(connection: socket.socket, num_bytes: int) -> bytearray:
    data = bytearray(num_bytes)
    rest = memoryview(data)
    while rest:
        if not (count := connection.recv_into(rest)):
            raise EOFError
        rest = rest[count:]
    return data


def serve(control_fd: int) -> None:
    """Fork a process for every socket that arrives through ``control_fd``, until its other end is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then keeps no zombie
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    with socket.socket(fileno=control_fd) as control:
        while True:
            _, fds, _, _ = socket.recv_fds(control, 1, 1)
            if not fds:
                return
            with contextlib.suppress(OSError):  # no process can be forked: the asking process sees its socket closed
                if os.fork() == 0:
                    _answer_and_exit(control, fds[0])
            os.close(fds[0])


def _answer_and_exit(control: socket.socket, connection_fd: int) -> None:
    try:
        control.close()
        connection = socket.socket(fileno=connection_fd)
        connection.sendall(READY)
        for left in reversed(range(_MAX_PICTURES)):
            _answer(connection, more=left > 0)
    finally:  # the kernel closes the connection after it has freed the memory, so it is not closed here
        os._exit(0)


def _answer(connection: socket.socket, *, more: bool) -> None:
    """Decode one picture, and tell whether this process accepts another one afterwards."""
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    head, data = receive(connection)
    try:
        _limit(head["max_bytes"] + len(data), head["limit_s"])
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in head["picture"].items()
        }
        image = decode(Picture(**{**fields, "data": bytes(data)}), head["wanted_size"], None)
    except MemeError as error:
        send(connection, {"code": error.code, "detail": str(error), "more": more})
    except Exception as error:  # noqa: BLE001 - a defect, which the asking process logs
        send(connection, {"mistake": repr(error), "more": more})
    else:
        send(connection, {"size": image.size, "more": more}, image.tobytes())


def _limit(max_bytes: int, limit_s: float) -> None:
    """Let the kernel limit this process to ``max_bytes`` of further memory and to ``limit_s`` of computing.

    On a busy machine, it also ends after ``PATIENCE`` times ``limit_s`` of elapsed time.
    """
    signal.setitimer(signal.ITIMER_PROF, max(limit_s, _MIN_S))
    signal.setitimer(signal.ITIMER_REAL, max(PATIENCE * limit_s, _MIN_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(FileNotFoundError):  # macOS has no /proc, and this limit does not apply there
        num_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = num_pages * resource.getpagesize() + max_bytes + _BASE_BYTES
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    with contextlib.suppress(OSError):
        # If memory runs out, the kernel kills this process first.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")

"""What decodes pictures apart: a small process that forks decoding ones, each under limits of the kernel.

It has imported nothing but Pillow and NumPy, so a fork takes few milliseconds, and the memory they share is small. All
end when the process that asks does, for then their sockets are closed; a decoding one also when its picture's time is
over. None leaves a zombie.
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

_BASE_BYTES = 32 << 20  # that a forked process may take beside what the picture is expected to
READY = b"r"  # a decoding process says before it is asked
PATIENCE = 4  # how many times longer than it computes a picture may take
_MIN_S = 0.001
_MAX_PICTURES = 1000  # that one process decodes; another one starts without what its decoders may have lost
_LENGTHS = struct.Struct(">IQ")  # of head and data


def send(connection: socket.socket, head: dict[str, Any], data: bytes = b"") -> None:
    """Send ``head`` as JSON, and ``data`` after it."""
    text = json.dumps(head).encode()
    connection.sendall(_LENGTHS.pack(len(text), len(data)) + text)
    connection.sendall(data)


def receive(connection: socket.socket) -> tuple[dict[str, Any], bytearray]:
    """Read what ``send`` sends; raises ``EOFError`` if the other end closed before."""
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
    """Fork a process for every socket that comes through ``control_fd``, until its other end is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then keeps no zombie
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    with socket.socket(fileno=control_fd) as control:
        while True:
            _, fds, _, _ = socket.recv_fds(control, 1, 1)
            if not fds:
                return
            with contextlib.suppress(OSError):  # no more processes: whoever asked sees its socket closed
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
    finally:  # the kernel closes the connection after it has taken the memory back, so it is not closed here
        os._exit(0)


def _answer(connection: socket.socket, *, more: bool) -> None:
    """Decode one picture, and say whether this process takes another one afterwards."""
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
    except Exception as error:  # noqa: BLE001 - a mistake of ours, which whoever asked logs
        send(connection, {"mistake": repr(error), "more": more})
    else:
        send(connection, {"size": image.size, "more": more}, image.tobytes())


def _limit(max_bytes: int, limit_s: float) -> None:
    """Let the kernel end this process, and refuse it more than ``max_bytes`` of further memory.

    It ends, whatever it is doing, after ``limit_s`` of computing, or ``PATIENCE`` times that on a busy machine.
    """
    signal.setitimer(signal.ITIMER_PROF, max(limit_s, _MIN_S))
    signal.setitimer(signal.ITIMER_REAL, max(PATIENCE * limit_s, _MIN_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(FileNotFoundError):  # macOS has no /proc, and this limit does not hold there
        num_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = num_pages * resource.getpagesize() + max_bytes + _BASE_BYTES
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")  # should memory end, rather this one goes

"""Decode a picture in a separate process, whose memory and time the kernel limits.

For pictures whose cost the header cannot bound, such as an AVIF or a lossless WEBP, and for those that take much
memory. ``child`` is the other side. Each asking thread has a process for itself; an idle process is kept for the next
picture.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

import memeguard
from memeguard import errors
from memeguard.pictures.child import PATIENCE, READY, receive, send

if TYPE_CHECKING:
    from memeguard.pictures.header import Picture

# A picture that takes more memory is decoded in a separate process, which ends afterwards to free the memory.
LARGE_BYTES = 80 << 20
_START_S = 20.0
MAX_S = 60.0  # for a picture without a time limit
_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from memeguard.pictures.child import serve
serve(int(sys.argv[1]))
"""
_ERRORS = {kind.code: kind for kind in errors.MemeError.__subclasses__()}


def decode_apart(picture: Picture, wanted_size: int | None, timeout_s: float | None, max_bytes: int) -> Image.Image:
    """Decode as ``decode`` does, in a process with ``max_bytes`` of memory and ``timeout_s`` of computing time.

    Raises:
        MemeError: As ``decode`` raises it.
        SlowImageError: The process ended before it answered.
    """
    limit_s = MAX_S if timeout_s is None else timeout_s
    fields = {**asdict(picture), "data": None}
    head = {"picture": fields, "wanted_size": wanted_size, "limit_s": limit_s, "max_bytes": max_bytes}
    answer, pixels = _decoders.ask(head, picture.data, limit_s, keep=max_bytes <= LARGE_BYTES)
    if "size" in answer:
        return Image.frombytes("RGB", tuple(answer["size"]), pixels)
    if "code" in answer:
        raise _ERRORS[answer["code"]](answer["detail"])
    if "mistake" in answer:
        raise RuntimeError(answer["mistake"])
    name = f"{picture.kind}, {picture.num_bytes} bytes"
    raise errors.SlowImageError(f"image ({name}) takes over {limit_s} s to decode, or ended the decoding process")


def _wait_for_end(connection: socket.socket) -> None:
    """Let a decoding process end, and wait until its memory is free, so that no two hold theirs at once."""
    with connection, contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


class _Decoders:
    """Connections to decoding processes, and the process that forks them, which is started when first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []
        self._forker: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def ask(
        self, head: dict[str, Any], data: bytes, limit_s: float, *, keep: bool
    ) -> tuple[dict[str, Any], bytes | bytearray]:
        """Return the answer to a request, empty if there is none; ``keep`` the process for another one, or end it."""
        connection = self._connect()
        connection.settimeout(PATIENCE * limit_s + 1)  # the kernel ends the process earlier
        try:
            send(connection, head, data)
            answer = receive(connection)
        except (OSError, EOFError):
            connection.close()
            return {}, b""
        if keep and answer[0]["more"]:  # otherwise the process ends by itself
            with self._lock:
                self._idle.append(connection)
        else:
            _wait_for_end(connection)
        return answer

    def _connect(self) -> socket.socket:
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if not select.select([connection], [], [], 0)[0]:  # readable means that the process has died
                    return connection
                connection.close()
            for _ in range(2):
                with contextlib.suppress(OSError):
                    return self._fork()
                self._end()
        raise errors.SlowImageError("image cannot be decoded: no process can be started for it")

    def _fork(self) -> socket.socket:
        with contextlib.ExitStack() as opened:
            ours, theirs = map(opened.enter_context, socket.socketpair())
            socket.send_fds(self._running_forker(), [b"d"], [theirs.fileno()])
            theirs.close()  # an open copy would hide the process's end
            ours.settimeout(_START_S)
            if ours.recv(1) != READY:
                raise OSError("the forking process has died")
            opened.pop_all()
        return ours

    def _running_forker(self) -> socket.socket:
        if self._control is not None and self._forker is not None and self._forker.poll() is None:
            return self._control
        self._end()
        self._control, theirs = socket.socketpair()
        path = [str(Path(memeguard.__file__).parent.parent), *sys.path]
        with theirs:
            self._forker = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno()), json.dumps(path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        return self._control

    def _end(self) -> None:
        for connection in (*self._idle, self._control):
            if connection is not None:
                connection.close()  # tells the other end to end
        if self._forker is not None:
            self._forker.kill()
            self._forker.wait()
        self._idle, self._forker, self._control = [], None, None

    def end(self) -> None:
        """End all processes; the next picture starts others."""
        with self._lock:
            self._end()

    def forget(self) -> None:
        """Leave the processes to the parent after a fork."""
        if self._forker is not None:
            self._forker.returncode = 0  # it is the parent's child, which this process cannot wait for
        self._lock, self._idle, self._forker, self._control = threading.Lock(), [], None, None


_decoders = _Decoders()
os.register_at_fork(after_in_child=_decoders.forget)
atexit.register(_decoders.end)

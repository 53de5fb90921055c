"""Decode a picture in a process of its own, whose memory and time the kernel limits.

For what a header cannot bound: an AVIF, a lossless WEBP, anything that takes much memory. A small Python process that
has imported nothing but Pillow forks once for each such picture (2 ms), and its memory goes back when it ends. Whoever
asks sends it a socket to answer on, so threads need no lock, and the process ends when the asking one does.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import AvifImagePlugin, Image

import memeguard
from memeguard import errors
from memeguard.pictures.decoding import decode
from memeguard.pictures.header import Picture

_BASE_BYTES = 48 << 20  # that a decoding process may take beside what the picture is expected to
_MAX_S = 60.0  # of a picture without a limit of its own
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from memeguard.pictures.process import serve; serve(int(sys.argv[1]))"
_ERRORS = {kind.code: kind for kind in errors.MemeError.__subclasses__()}


def decode_apart(picture: Picture, wanted_size: int | None, timeout_s: float | None, num_bytes: int) -> Image.Image:
    """Do what ``decode`` does, in a process that may take ``num_bytes`` of memory and ``timeout_s``.

    Raises:
        MemeError: What ``decode`` raises.
        SlowImageError: The process did not answer in time.
        ImageTooLargeError: The process ended without an answer.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        _forker.hand_over(theirs)
        theirs.close()
        ours.settimeout((timeout_s or _MAX_S) + 1)  # it is killed before
        fields = {**asdict(picture), "data": None}
        try:
            _send(ours, {"picture": fields, "wanted_size": wanted_size, "timeout_s": timeout_s, "num_bytes": num_bytes})
            ours.sendall(picture.data)
            ours.shutdown(socket.SHUT_WR)
            answer, pixels = _receive(ours)
        except (OSError, EOFError):
            answer, pixels = {}, b""
    if "size" in answer:
        return Image.frombytes("RGB", tuple(answer["size"]), pixels)
    if "code" in answer:
        raise _ERRORS[answer["code"]](answer["detail"])
    raise errors.SlowImageError(f"image takes over {timeout_s or _MAX_S} s, or too much memory, to decode")


def _send(connection: socket.socket, head: dict[str, Any]) -> None:
    text = json.dumps(head).encode()
    connection.sendall(len(text).to_bytes(4, "big") + text)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], bytes]:
    with connection.makefile("rb") as stream:
        text = stream.read(int.from_bytes(stream.read(4), "big"))
        if not text:
            raise EOFError
        return json.loads(text), stream.read()


class _Forker:
    """The process that forks; started when it is first needed, and again when it has died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def hand_over(self, connection: socket.socket) -> None:
        """Give ``connection`` to a newly forked process."""
        with self._lock:
            for _ in range(2):
                if self._process is None or self._process.poll() is not None or self._control is None:
                    self._start()
                with contextlib.suppress(OSError):
                    socket.send_fds(self._control, [b"d"], [connection.fileno()])
                    return
                self.end()
        raise errors.SlowImageError("image cannot be decoded: no decoding process can be started")

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _START,
                    str(theirs.fileno()),
                    json.dumps([str(Path(memeguard.__file__).parent.parent), *sys.path]),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )

    def end(self) -> None:
        """End the process, which does so when its socket is closed."""
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait()
        self._process = self._control = None

    def forget(self) -> None:
        """Leave the process to the one that this one was forked from."""
        if self._process is not None:
            self._process.returncode = 0  # it is no child of ours: nothing to wait for
        self._lock, self._process, self._control = threading.Lock(), None, None


_forker = _Forker()
os.register_at_fork(after_in_child=_forker.forget)
atexit.register(_forker.end)


def serve(control_fd: int) -> None:
    """Fork a process for every socket that comes, until the other end is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that no zombie is left
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    control = socket.socket(fileno=control_fd)
    while True:
        _, fds, _, _ = socket.recv_fds(control, 1, 1)
        if not fds:
            return
        with contextlib.suppress(OSError):  # no more processes: whoever asks sees that its socket is closed
            if os.fork() == 0:
                control.close()
                try:
                    _answer(socket.socket(fileno=fds[0]))
                finally:
                    os._exit(0)
        os.close(fds[0])


def _answer(connection: socket.socket) -> None:
    head, data = _receive(connection)
    _limit(head["num_bytes"] + 2 * len(data), head["timeout_s"] or _MAX_S)
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in head["picture"].items()}
    try:
        image = decode(Picture(**{**fields, "data": data}), head["wanted_size"], None)
    except errors.MemeError as error:
        _send(connection, {"code": error.code, "detail": str(error)})
        return
    _send(connection, {"size": image.size})
    connection.sendall(image.tobytes())


def _limit(num_bytes: int, timeout_s: float) -> None:
    """Let the kernel end this process after ``timeout_s``, and refuse it more than ``num_bytes`` of further memory."""
    signal.setitimer(signal.ITIMER_REAL, max(timeout_s, 0.001))  # SIGALRM ends it, whatever it is doing
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + num_bytes + _BASE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")  # if memory ends, rather this one

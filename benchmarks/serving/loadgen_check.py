"""Show that the load generator is not the bottleneck: load a server that reads requests and answers at once.

    python -m benchmarks.serving.loadgen_check PORT

is that server. The generator must reach far more requests per second with it than with a server that has a model.
"""

from __future__ import annotations

import os
import re
import socketserver
import sys
import time
from typing import TYPE_CHECKING, Final

from benchmarks.ports import free_ports
from benchmarks.serving.load import Load, run_load
from benchmarks.serving.memes import make_requests
from benchmarks.serving.processes import Family
from benchmarks.serving.venvs import REPOSITORY

if TYPE_CHECKING:
    from benchmarks.serving.settings import Run

_ANSWER: Final = b'{"prediction":"Non-offensive","probability":0.5}'
_WARM_S: Final = 0.3
_START_S: Final = 2.0
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(_ANSWER), _ANSWER)
        data = b""
        while piece := self.request.recv(1 << 20):
            data += piece
            head, separator, body = data.partition(b"\r\n\r\n")
            match = _LENGTH.search(head)
            if separator and match and len(body) >= int(match[1]):
                self.request.sendall(reply)
                data = b""


class IdleServer(socketserver.ThreadingTCPServer):
    """Answers every request at once with the same prediction."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)


def measure_generator(run: Run) -> None:
    """Load a server that does nothing, in a process of its own, with the headline's requests."""
    seconds = min(3.0, run.settings.seconds)
    planned_s = len(run.settings.clients) * (seconds + _WARM_S) + _START_S
    if run.results.rows("generator") or not run.clock.allows(planned_s, "the load generator"):
        return
    port = free_ports(1)[0]
    make = make_requests(run.memes, "/", {}, cell="generator")
    command = [sys.executable, "-m", "benchmarks.serving.loadgen_check", str(port)]
    with Family(command, log=run.logs / "generator.log", cwd=REPOSITORY, env=os.environ) as server:
        once = Load(clients=1, seconds=5.0, warm_s=0.0, max_requests=1)
        while run_load(port, make, once).num_errors and server.exit_status is None:
            time.sleep(0.1)
        for clients in run.settings.clients:
            result = run_load(port, make, Load(clients=clients, seconds=seconds, warm_s=_WARM_S, max_requests=10**6))
            run.results.add(
                "generator",
                clients=clients,
                requests_per_s=result.requests_per_s,
                p50_s=result.percentile(50),
                num_errors=result.num_errors,
                cpu_s_per_request=result.generator_cpu_s / max(1, result.num_requests),
            )


if __name__ == "__main__":
    IdleServer(int(sys.argv[1])).serve_forever()

"""How gunicorn serves the proxy: ``gunicorn -c proxy/gunicorn.conf.py "proxy.app:create_app()"``.

Does not know where TorchServe is; that is an argument of ``create_app``.
"""
# ruff: noqa: N999 - gunicorn reads this file by its path, and this is the name it gives such files

import logging
import resource
from pathlib import Path
from typing import Any

from proxy.log_limit import LineLimit

_NUM_OTHER_FILES = 128  # connections to TorchServe, the log and the rest
_NUM_FILES = 1000 + _NUM_OTHER_FILES

# The original's port. A container that publishes it says --bind 0.0.0.0:5000.
bind = "127.0.0.1:5000"

# A connection costs a greenlet: those that trickle or idle take nothing from the others. The second process is there so
# that one that dies does not take all with it. The limits of ``create_app`` are those of one process.
worker_class = "proxy.worker.ProxyWorker"
workers = 2
# Each process's; near that many, the ones that have been sending a head, or nothing, for longest are closed.
worker_connections = 1000
# Connections that the kernel keeps until they are accepted: to wait there for seconds would help nobody.
backlog = 512
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if resource.RLIM_INFINITY != _soft < _NUM_FILES:
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_NUM_FILES, _hard), _hard))
    worker_connections = min(worker_connections, _hard - _NUM_OTHER_FILES)
# Each worker builds its own application: a connection pool must not be shared across a fork.
preload_app = False

# A worker's main loop that does not show a sign of life for this long is replaced. It never waits for a request.
timeout = 30
# Longer than the 30 s a prediction may take, so that a restart cuts nobody off.
graceful_timeout = 35
# Long enough for a client that sends one meme after another, short enough not to hoard idle connections.
keepalive = 5

# Nothing here has long URLs or many headers; forms are bounded in the application.
limit_request_line = 2048
limit_request_fields = 64
limit_request_field_size = 8190

# No header of a client changes what the application sees (gunicorn trusts those from 127.0.0.1 by default).
forwarded_allow_ips = ""

# gunicorn 25.1 and later open a control socket in $XDG_RUNTIME_DIR or ~/.gunicorn; older ones do not know the setting
# and refuse none of it.
control_socket_disable = True
# Its heartbeat is a file touched every second; on a real disk that can block a worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108

# Requests are not logged: captions and addresses are nobody's business, and the worker class keeps them out of errors.
# Those go to stderr.
accesslog = None
errorlog = "-"
# The application's own warnings join gunicorn's lines; by default they would have no time on them.
logging.basicConfig(format="[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s")


def post_worker_init(worker: Any) -> None:  # noqa: ANN401 - gunicorn has no types
    """Bound what each process logs."""
    limit = LineLimit()
    for handler in (*logging.getLogger().handlers, *worker.log.error_log.handlers):
        handler.addFilter(limit)

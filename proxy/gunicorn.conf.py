"""gunicorn's settings for the proxy: ``gunicorn -c proxy/gunicorn.conf.py "proxy.app:create_app()"``.

TorchServe's address is an argument of ``create_app``.
"""
# ruff: noqa: N999 - gunicorn reads this file by its path, and this is the name it gives such files

import logging
import resource
from pathlib import Path
from typing import Any

from proxy.log_limit import LineLimit

_NUM_OTHER_FILES = 128  # connections to TorchServe, the log and the rest
_NUM_FILES = 1000 + _NUM_OTHER_FILES

# The port of the original service. A container that publishes it passes --bind 0.0.0.0:5000.
bind = "127.0.0.1:5000"

# A connection costs a greenlet, so slow and idle ones take nothing from the others. A second process goes on
# serving when one dies. The limits of ``create_app`` apply to each process.
worker_class = "proxy.worker.ProxyWorker"
workers = 2
# Of each process. Near the limit, those that have been sending a request's head, or nothing, for longest are closed.
worker_connections = 1000
# Connections that wait in the kernel until they are accepted; a longer queue would only delay refusals.
backlog = 512
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if resource.RLIM_INFINITY != _soft < _NUM_FILES:
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_NUM_FILES, _hard), _hard))
    worker_connections = min(worker_connections, _hard - _NUM_OTHER_FILES)
# Each worker builds its own application, because a connection pool must not be shared across a fork.
preload_app = False

# A worker whose main loop gives no sign of life for this many seconds is replaced. The loop never waits for a request.
timeout = 30
# Longer than the 30 s that a prediction may take, so that a restart cuts off no client.
graceful_timeout = 35
# Long enough for a client that sends one meme after another, short enough that idle connections do not pile up.
keepalive = 5

# Requests have short URLs and few headers; the application limits the form.
limit_request_line = 2048
limit_request_fields = 64
limit_request_field_size = 8190

# No header of a client changes what the application sees (gunicorn trusts those from 127.0.0.1 by default).
forwarded_allow_ips = ""

# gunicorn 25.1 and later open a control socket in $XDG_RUNTIME_DIR or ~/.gunicorn; older versions ignore the setting.
control_socket_disable = True
# A worker's heartbeat is a file that it touches every second; on a real disk that can block it.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108

# Requests are not logged, to keep captions and addresses private; the worker class keeps them out of errors, too.
# Errors go to stderr.
accesslog = None
errorlog = "-"
# The application's own warnings get the format of gunicorn's lines; by default they would carry no time.
logging.basicConfig(format="[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s")


def post_worker_init(worker: Any) -> None:  # noqa: ANN401 - gunicorn has no types
    """Limit the lines that each process logs."""
    limit = LineLimit()
    for handler in (*logging.getLogger().handlers, *worker.log.error_log.handlers):
        handler.addFilter(limit)

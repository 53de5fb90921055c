"""Give the sending of a request a time limit of its own.

urllib3 applies the connect timeout to the sending, too: 1 s is plenty to connect on loopback and too little to send
16 MiB to a busy server.
"""

from __future__ import annotations

from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class SendTimeoutAdapter(HTTPAdapter):
    """Requests' HTTPAdapter with a limit to how long the sending of a request may take in all.

    Args:
        send_timeout_s: The limit; beyond it, the request fails with a TimeoutError wrapped in a ProtocolError.
        settings: Arguments of HTTPAdapter.
    """

    def __init__(self, send_timeout_s: float, **settings: Any) -> None:  # noqa: ANN401 - HTTPAdapter's own
        self._send_timeout_s = send_timeout_s
        super().__init__(**settings)

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401 - HTTPAdapter's own
        """Make the pools open connections with the limit."""
        super().init_poolmanager(*args, **settings)
        self.poolmanager.pool_classes_by_scheme = _pool_classes(self._send_timeout_s)


def _pool_classes(send_timeout_s: float) -> dict[str, type[HTTPConnectionPool]]:
    class Pool(HTTPConnectionPool):
        ConnectionCls = _limited(HTTPConnection, send_timeout_s)

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = _limited(HTTPSConnection, send_timeout_s)

    return {"http": Pool, "https": SecurePool}


def _limited(kind: Any, send_timeout_s: float) -> Any:  # noqa: ANN401 - one of urllib3's two classes
    class Connection(kind):  # type: ignore[misc] # its type is a variable
        def request(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401 - HTTPConnection's own
            if self.sock is None:
                self.connect()
            self.timeout = send_timeout_s  # urllib3 sets it anew before it connects, and before it reads
            super().request(*args, **settings)

    return Connection

"""Make HTTP requests of TorchServe: pooled connections, explicit timeouts, one repetition where that is harmless."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests
from urllib3.exceptions import MaxRetryError, ProtocolError, ReadTimeoutError

from proxy.send_timeout import SendTimeoutAdapter
from proxy.upstream import UpstreamAnswer, UpstreamTimeout, UpstreamUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.key_file import Audience


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request without its key; ``repeatable`` says that making it twice is as good as once."""

    audience: Audience
    method: str
    url: str
    repeatable: bool
    read_timeout_s: float
    params: Mapping[str, str] | None = None
    files: Mapping[str, tuple[str, bytes, str] | tuple[None, bytes]] | None = None


class Connections:
    """Pooled connections to one TorchServe; safe to share between threads, not between processes.

    Args:
        pool_size: How many threads use them at once, hence how many stay open.
        connect_timeout_s: How long a connection may take to open.
        send_timeout_s: How long TorchServe may take to receive a request.
    """

    def __init__(self, *, pool_size: int, connect_timeout_s: float, send_timeout_s: float) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._send_timeout_s = send_timeout_s
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy or .netrc of the environment must not reroute or sign a meme
        for scheme in ("http://", "https://"):
            adapter = SendTimeoutAdapter(send_timeout_s, pool_connections=2, pool_maxsize=pool_size)
            self._session.mount(scheme, adapter)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def send(self, call: Call, key: str) -> UpstreamAnswer:
        """Make a request.

        Raises:
            UpstreamUnavailable: TorchServe cannot be reached.
            UpstreamTimeout: TorchServe did not receive the request, or did not answer, in time.
        """
        try:
            response = self._request(call, key)
        except requests.ConnectTimeout as error:
            raise UpstreamUnavailable(f"TorchServe takes no connection within {self._connect_timeout_s} s") from error
        except requests.RequestException as error:
            if isinstance(error, requests.Timeout) or _wraps(error, ReadTimeoutError):
                raise UpstreamTimeout(f"TorchServe gave no answer within {call.read_timeout_s} s") from error
            if _is_send_timeout(error):
                raise UpstreamTimeout(f"TorchServe did not take the request within {self._send_timeout_s} s") from error
            raise UpstreamUnavailable("TorchServe cannot be reached") from error
        return UpstreamAnswer.parse(response.status_code, response.content)

    def _request(self, call: Call, key: str, *, is_repetition: bool = False) -> requests.Response:
        try:
            return self._session.request(
                call.method,
                call.url,
                params=call.params,
                files=call.files,
                headers={"Authorization": f"Bearer {key}"},
                timeout=(self._connect_timeout_s, call.read_timeout_s),
                allow_redirects=False,
            )
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            # TorchServe may close a pooled connection at the very moment it is used again. If nobody listens, or an
            # answer is overdue, a second request would fare no better.
            is_final = _wraps(error, MaxRetryError, ReadTimeoutError) or _is_send_timeout(error)
            if is_repetition or not call.repeatable or is_final:
                raise
        return self._request(call, key, is_repetition=True)


def _wraps(error: requests.RequestException, *kinds: type[Exception]) -> bool:
    """Tell whether one of these urllib3 errors is the cause; requests keeps it as its first argument."""
    return bool(error.args) and isinstance(error.args[0], kinds)


def _is_send_timeout(error: requests.RequestException) -> bool:
    if not _wraps(error, ProtocolError):
        return False
    return any(isinstance(cause, TimeoutError) for cause in error.args[0].args)

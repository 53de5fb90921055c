"""Ask TorchServe for predictions and manage its models, with keys that are renewed when they expire.

No header of a client passes through here.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.key_file import Audience, KeyFileError, lock_keys, read_keys
from proxy.upstream import UpstreamRefused, UpstreamUnavailable
from proxy.upstream_calls import Call, Connections

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.upstream import UpstreamAnswer

# Renewing a key writes one small file. Every thread of this client waits for it, so the limit is short.
_RENEWAL_TIMEOUT_S = 5.0


class TorchServeClient:
    """A client for one model of a TorchServe; safe to share between threads, not between processes.

    Args:
        inference_url: URL of the inference API.
        management_url: URL of the management API, where keys are renewed, too.
        key_file: The ``key_file.json`` in TorchServe's working directory; it need not exist yet.
        model_name: Name of the model.
        pool_size: How many threads use the client at once, hence how many connections stay open.
        connect_timeout_s: Longest time until a connection is open.
        send_timeout_s: Longest time until TorchServe has received a request.
        read_timeout_s: Longest silence before, or within, an answer.
    """

    def __init__(
        self,
        *,
        inference_url: str = "http://127.0.0.1:8080",
        management_url: str = "http://127.0.0.1:8081",
        key_file: str | Path = "run/key_file.json",
        model_name: str = "meme",
        pool_size: int = 16,
        connect_timeout_s: float = 1.0,
        send_timeout_s: float = 10.0,
        read_timeout_s: float = 30.0,
    ) -> None:
        self.model_name = model_name
        self._inference_url = inference_url.rstrip("/")
        self._management_url = management_url.rstrip("/")
        self._key_file = Path(key_file)
        self._connections = Connections(
            pool_size=pool_size, connect_timeout_s=connect_timeout_s, send_timeout_s=send_timeout_s
        )
        self._read_timeout_s = read_timeout_s
        self._keys: Mapping[Audience, str] | None = None

    def close(self) -> None:
        """Close the pooled connections."""
        self._connections.close()

    def predict(self, *, image: bytes, text: str) -> UpstreamAnswer:
        """Ask the model's default version for a prediction.

        Args:
            image: The picture's bytes, sent unchanged.
            text: The meme's text.

        Raises:
            UpstreamUnavailable: Nobody listens, or the keys are missing or refused.
            UpstreamTimeout: TorchServe does not answer within the read timeout.
        """
        call = Call(
            audience=Audience.INFERENCE,
            method="POST",
            url=f"{self._inference_url}/predictions/{self.model_name}",
            repeatable=True,
            read_timeout_s=self._read_timeout_s,
            # A worker gets plain fields, and files of this type, as bytes; TorchServe decodes files of other types.
            files={"image": ("image", image, "application/octet-stream"), "text": (None, text.encode("utf-8"))},
        )
        return self._authorized(call)

    def manage(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, read_timeout_s: float | None = None
    ) -> UpstreamAnswer:
        """Call the management API, as in ``manage("PUT", "/models/meme/1.0.0/set-default")``.

        Args:
            method: HTTP method.
            path: Path of the URL.
            params: Its query.
            read_timeout_s: Longest silence; the client's own if None.

        Raises:
            UpstreamUnavailable: Nobody listens, or the keys are missing or refused.
            UpstreamTimeout: TorchServe does not answer within ``read_timeout_s``.
        """
        call = Call(
            audience=Audience.MANAGEMENT,
            method=method,
            url=self._management_url + path,
            repeatable=method == "GET",
            read_timeout_s=self._read_timeout_s if read_timeout_s is None else read_timeout_s,
            params=params,
        )
        return self._authorized(call)

    def describe(self, version: str = "all") -> list[dict[str, Any]]:
        """Return TorchServe's description of one version of the model, or of all, with their workers.

        Raises:
            UpstreamRefused: There is no such model or version.
            UpstreamUnavailable: Nobody listens, or the keys are missing or refused.
            UpstreamTimeout: TorchServe does not answer within the read timeout.
        """
        answer = self.manage("GET", f"/models/{self.model_name}/{version}")
        if answer.status != HTTPStatus.OK or not isinstance(answer.body, list):
            message = f"TorchServe does not describe {self.model_name}, version {version}: status {answer.status}"
            raise UpstreamRefused(message, answer)
        return answer.body

    def _authorized(self, call: Call) -> UpstreamAnswer:
        refused = None
        # Keys expire, and TorchServe makes new ones when it starts. So the key in memory may be old, and the one in the
        # file as well, if no process has renewed it for long; a renewed one is not.
        for _ in ("in memory", "in the file", "renewed"):
            key = self._key(call.audience, refused)
            answer = self._connections.send(call, key)
            if answer.error_type != "InvalidKeyException":
                return answer
            refused = key
        raise UpstreamUnavailable(f"TorchServe refuses the {call.audience} key, even a renewed one")

    def _key(self, audience: Audience, refused: str | None) -> str:
        keys = self._keys
        try:
            if keys is None:
                keys = self._keys = read_keys(self._key_file)
            elif keys[audience] == refused:
                keys = self._keys = self._replaced(audience, refused)
        except KeyFileError as error:
            raise UpstreamUnavailable("TorchServe's keys cannot be read; is it running?") from error
        return keys[audience]

    def _replaced(self, audience: Audience, refused: str) -> Mapping[Audience, str]:
        with lock_keys(self._key_file):  # only one of all threads and processes renews the key
            keys = read_keys(self._key_file)
            if keys[audience] != refused:
                return keys
            renewal = Call(
                audience=Audience.RENEWAL,
                method="GET",
                url=f"{self._management_url}/token",
                repeatable=False,
                read_timeout_s=_RENEWAL_TIMEOUT_S,
                params={"type": audience.value},
            )
            answer = self._connections.send(renewal, keys[Audience.RENEWAL])
            if answer.status != HTTPStatus.OK:
                raise UpstreamUnavailable(f"TorchServe does not renew the {audience} key: status {answer.status}")
            return read_keys(self._key_file)  # TorchServe rewrites it before it answers

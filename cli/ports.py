"""Check that the servers' ports are free, and name the process that holds one that is not."""

from __future__ import annotations

import contextlib
import errno
import socket
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.errors import ServeError

if TYPE_CHECKING:
    import psutil

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The servers' ports on the loopback interface; only ``proxy`` is for clients."""

    proxy: int = 5000
    inference: int = 8080
    management: int = 8081
    metrics: int = 8082
    grpc_inference: int = 7070
    grpc_management: int = 7071

    def require_free(self, host: str) -> None:
        """Raise ``ServeError`` if a port is taken or given twice; the proxy's is checked on ``host``."""
        options = {
            "--port": (host, self.proxy),
            "--inference-port": (_LOOPBACK, self.inference),
            "--management-port": (_LOOPBACK, self.management),
            "--metrics-port": (_LOOPBACK, self.metrics),
            "--grpc-inference-port": (_LOOPBACK, self.grpc_inference),
            "--grpc-management-port": (_LOOPBACK, self.grpc_management),
        }
        for option, (address, port) in options.items():
            others = [other for other, each in options.items() if each[1] == port and other != option]
            if others:
                raise ServeError(f"port {port} is given twice, by {option} and {others[0]}")
            _require_free(option, address, port)


def _require_free(option: str, host: str, port: int) -> None:
    try:
        is_free = is_port_free(host, port)
    except OSError as error:
        raise ServeError(f"cannot listen on {host}, port {port}: {error.strerror}") from error
    if not is_free:
        holder = describe_holder(port)
        raise ServeError(f"port {port} on {host} is taken by {holder}; free it or choose another with {option}")


def is_port_free(host: str, port: int) -> bool:
    """Return whether a server can listen on ``host:port``; raise ``OSError`` if the machine has no such address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def describe_process(process: psutil.Process) -> str:
    """Return the pid and the beginning of the command line."""
    command = " ".join(process.cmdline()) or process.name()
    return f"pid {process.pid}, {textwrap.shorten(command, 80, placeholder=' …')}"


def describe_holder(port: int) -> str:
    """Return the pid and name of the program that listens on ``port``, if this user may know them."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError, RuntimeError):
        for connection in psutil.net_connections("tcp"):
            is_it = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if is_it and connection.pid:
                return describe_process(psutil.Process(connection.pid))
    return "a process of another user"

"""Listens on an address until the user says stop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_address

import uvicorn
from starlette.applications import Starlette

from controller.errors import BadWorkload

GRACE_S = 2
"""How long open streams may go on after Ctrl-C [s of wall time]."""
_IDLE_S = 30
"""How long a connection without a request stays open [s of wall time]."""


def read_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``, ``:PORT`` or ``PORT``; loopback where no host is given.

    Raises:
        BadWorkload: no such address.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdigit() or not 0 <= int(port) <= 65535:
        raise BadWorkload(f"--http {text}: {port!r} is no port; write HOST:PORT, as in 127.0.0.1:8000")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """A bound socket.

    Raises:
        BadWorkload: the address is taken or not of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise BadWorkload(f"--http {host}:{port}: {error.strerror or error}; choose another address") from error


def http_server(app: Starlette, started: Callable[[], None]) -> uvicorn.Server:
    """A server whose `run(sockets=[...])` serves until SIGINT or SIGTERM; `started` is called when it does."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_S, timeout_keep_alive=_IDLE_S,
        lifespan="off", server_header=False,
    )  # fmt: skip
    return _Server(config, started)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        self._tell()

"""The way to a Ray cluster (optional extra `ray`); windtunnel must be installed on its machines.

Ray carries requests and answers between its own processes in its own way; nothing of ours listens for them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from controller.errors import MissingExtra, RunError, UserError, WindtunnelError

_CONNECT_S = 10.0


class NoCluster(UserError):
    """The Ray cluster does not answer."""


class RayLost(RunError):
    """A machine or a process of the Ray cluster was lost."""


@contextmanager
def ray_session(address: str) -> Iterator[Any]:
    """The module `ray`, connected for the length of a ``with``.

    Args:
        address: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``.

    Raises:
        MissingExtra: Ray is not installed.
        NoCluster: nobody answers at `address`, or this process is connected already.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("a Ray cluster needs the optional extra: pip install 'windtunnel[ray]'") from error
    _check_listens(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise NoCluster(f"no Ray cluster at {address!r}: {error}; start one with `ray start --head`") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_listens(address: str) -> None:
    """Raises NoCluster at once where Ray itself would try for a minute; ``auto`` and the like are left to Ray."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise NoCluster(
            f"no Ray cluster at {address!r}: nothing listens there ({error}); start one with `ray start --head`"
        ) from error


@contextmanager
def ray_errors(what: str) -> Iterator[None]:
    """Turns what Ray raises into what went wrong: an error of ours as it was, a loss of its own as `RayLost`.

    Args:
        what: was being done, for the message.
    """
    from ray import exceptions

    try:
        yield
    except exceptions.RayTaskError as error:
        if isinstance(error.cause, WindtunnelError):
            raise error.cause from None
        raise error.as_instanceof_cause() from error
    except exceptions.GetTimeoutError as error:
        raise RayLost(f"the Ray cluster did not answer in time when {what}; has it free cores?") from error
    except exceptions.RayError as error:
        raise RayLost(f"the Ray cluster failed when {what}: {error}; run it again") from error

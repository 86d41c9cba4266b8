"""Runs a function over named items on a Ray cluster (optional extra `ray`); windtunnel must be installed on its nodes.

Ray moves the requests and rows between its processes in its own way; nothing of ours listens for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from controller.compare.pool import WorkerDied
from controller.errors import MissingExtra, UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
POLL_S = 1.0
"""How long one wait for results lasts, so that Ctrl-C is heard [s]."""


class NoCluster(UserError):
    """The Ray cluster does not answer."""


def each_on_ray(
    function: Callable[[Item], Result], items: Mapping[str, Item], done: Callable[[str, Result], None], address: str
) -> None:
    """Calls ``done(name, function(item))`` for every item, as they end on the cluster.

    Args:
        function: importable by name on every node.
        items: by name.
        done: called in this process.
        address: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``.

    Raises:
        MissingExtra: Ray is not installed.
        NoCluster: nobody answers at `address`.
        WorkerDied: a node or a process of the cluster was lost, and Ray could not repeat its work.
    """
    try:
        import ray
        from ray import exceptions
    except ImportError as error:
        raise MissingExtra("a Ray cluster needs the optional extra: pip install 'windtunnel[ray]'") from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise NoCluster(f"no Ray cluster at {address!r}: {error}; start one with `ray start --head`") from error
    try:
        remote = ray.remote(function)
        pending = {remote.remote(item): name for name, item in items.items()}
        try:
            while pending:
                ready, _ = ray.wait(list(pending), num_returns=1, timeout=POLL_S)
                for reference in ready:
                    done(pending.pop(reference), ray.get(reference))
        except exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from error
        except exceptions.RayError as error:
            raise WorkerDied(f"the Ray cluster lost a run: {error}; run it again") from error
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)
    finally:
        ray.shutdown()

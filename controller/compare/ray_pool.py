"""Runs a function over named items on a Ray cluster (optional extra `ray`); windtunnel must be installed on its nodes.

Ray moves the requests and rows between its processes in its own way; nothing of ours listens for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from controller.launch.ray_session import ray_errors, ray_session

Item = TypeVar("Item")
Result = TypeVar("Result")
POLL_S = 1.0
"""How long one wait for results lasts, so that Ctrl-C is heard [s]."""


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
        RayLost: a node or a process of the cluster was lost, and Ray could not repeat its work.
    """
    with ray_session(address) as ray:
        remote = ray.remote(function)
        pending = {remote.remote(item): name for name, item in items.items()}
        try:
            while pending:
                with ray_errors("running a comparison"):
                    ready, _ = ray.wait(list(pending), num_returns=1, timeout=POLL_S)
                    results = [(reference, ray.get(reference)) for reference in ready]
                for reference, result in results:
                    done(pending.pop(reference), result)
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)

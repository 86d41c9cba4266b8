"""Registers the backend with ``torch.distributed``; what it needs is imported when a group is made."""

from __future__ import annotations

import atexit
import json
import os
from contextlib import suppress
from typing import Any

from controller.clock import sleep_s, wall_clock_s

NAME = "windtunnel"
TOPOLOGY = "WINDTUNNEL_TOPOLOGY"
"""Variable that names the topology whose first devices are the ranks, where nobody started nodes."""
_open: list[Any] = []
_left: list[Any] = []
"""The store of the first group, once its end is taken care of."""
LEAVING_S = 30.0
"""How long the rank that has the store waits for the others at its end [s of wall time]."""


def register() -> None:
    """Makes ``init_process_group("windtunnel")`` work; torch calls it when it is imported."""
    import torch.distributed as dist

    if dist.is_available() and NAME.upper() not in dir(dist.Backend):
        dist.Backend.register_backend(NAME, create_group, extended_api=True, devices=["cpu"])


def create_group(given: Any, options: Any = None) -> Any:
    """A communicator; the first one starts nodes where there are none.

    Args:
        given: what torch says of the group: store, rank, size and global ranks.
        options: of the backend; it has none.
    """
    from controller.capture.live.exchange import NODES, NodeExchange
    from controller.capture.live.process_group import NodeGroup

    ranks = list(given.global_ranks_in_group) or list(range(given.group_size))
    if NODES not in os.environ:
        os.environ[NODES] = _start_nodes(given.store, given.group_rank, given.group_size)
    if not _left:
        _left.append(given.store)
        atexit.register(_leave, given.store, given.group_rank, given.group_size)
    name = str(given.group_id).replace(":", "_") or "world"
    timeout_s = given.timeout.total_seconds() if given.timeout else 1800.0
    exchange = NodeExchange(given.store, name, ranks, given.group_rank, timeout_s)
    return NodeGroup(given.group_rank, given.group_size, exchange)


def nodes_of(cluster: Any, devices: tuple[str, ...]) -> str:
    """What ranks are told of the nodes of a cluster, as JSON."""
    spec = cluster.topology.devices[devices[0]].spec
    targets = {device: cluster.whereabouts.targets[device] for device in devices}
    return json.dumps({"devices": list(devices), "tier": next(iter(spec.tiers)), "targets": targets})


def _leave(store: Any, rank: int, size: int) -> None:
    """Says that a rank ends; the first, which may have store and nodes in its process, ends after the others."""
    key = "windtunnel/left"
    with suppress(RuntimeError):  # a store whose process has been killed
        count, deadline = store.add(key, 1), wall_clock_s() + LEAVING_S
        while rank == 0 and count < size and wall_clock_s() < deadline:
            sleep_s(0.01)
            count = store.add(key, 0)


def _start_nodes(store: Any, rank: int, size: int) -> str:
    """Starts a node for every rank on rank 0, and tells the others."""
    key = "windtunnel/nodes"
    if rank:
        found: str = store.get(key).decode()
        return found
    from controller.collectives.group import first_ranks, only
    from controller.launch import launch
    from controller.topology.loader import load_topology

    topology = load_topology(os.environ.get(TOPOLOGY, "dgx_h100"))
    group = first_ranks(topology, size)
    running = launch(only(topology, group))
    cluster = running.__enter__()
    _open.append(running)
    atexit.register(running.__exit__, None, None, None)
    told = nodes_of(cluster, group.devices)
    store.set(key, told)
    return told

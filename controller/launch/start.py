"""Starts the nodes of a topology: looks at the machine, writes what they are told, waits until all serve."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from threading import Lock
from typing import Any

from controller.clock import wall_clock_s
from controller.errors import UserError
from controller.launch.certificates import CONTROLLER, make_credentials, write_credentials
from controller.launch.cluster import START_S, Cluster, Whereabouts
from controller.launch.cluster_file import cluster_content, settled, write_cluster_file
from controller.launch.fork_server import ForkServerProcess
from controller.launch.heartbeats import check_node_timeout
from controller.launch.listening import Listening
from controller.launch.preflight import Needs, preflight
from controller.launch.run_directory import create_run_directory
from controller.topology.schema import Topology
from node.client import Credentials
from node.protocol import ARBITER, NODE_TIMEOUT_S

_MAX_PACE = 1e9
"""The largest dilation: a microsecond of the device takes a quarter of an hour [ratio]."""


def check_pace(pace: float | None) -> None:
    """Raises UserError for what is no dilation."""
    if pace is not None and not 0 < pace <= _MAX_PACE:
        raise UserError(
            f"pace {pace:g} is not a dilation; give wall seconds per device second, above 0 and at most {_MAX_PACE:g}"
        )


def start(
    topology: Topology,
    pace: float | None,
    flash_folder: Path | None,
    needs: Needs,
    name: str,
    *,
    detached: bool,
    listening: Listening | None = None,
    node_timeout_s: float = NODE_TIMEOUT_S,
    take_over: bool = False,
) -> Cluster:
    """Starts the nodes of a topology and waits until all serve; leaves nothing behind when that fails."""
    check_pace(pace)
    check_node_timeout(node_timeout_s)
    preflight(topology, needs, flash_folder=flash_folder)
    credentials = None if listening is None else make_credentials(topology.devices)
    run = create_run_directory(name)
    epoch = wall_clock_s()
    try:
        content = cluster_content(run.path, topology, epoch, pace, flash_folder, listening)
        content["node_timeout_s"], content["take_over"] = node_timeout_s, take_over
        if credentials is not None:
            write_credentials(run.path, credentials)
        write_cluster_file(run.path, content)
    except BaseException:
        run.close()
        rmtree(run.path, ignore_errors=True)
        raise
    early: list[tuple[str, str]] = []
    cluster: Cluster | None = None
    telling = Lock()  # so that no death falls between the list and the cluster

    def died(device: str, how: str) -> None:
        with telling:
            if cluster is None:
                early.append((device, how))
                return
        cluster.died(device, how)

    server = ForkServerProcess(run, detached=detached, died=died)
    try:
        names = [*topology.devices, *([ARBITER] if content["arbiter"] else [])]
        server.await_ready(names, START_S)
        if credentials is not None:
            content = settled(content, server.targets)
            write_cluster_file(run.path, content)
        with telling:
            cluster = Cluster(
                topology, whereabouts_of(content, credentials), pace, epoch, server, node_timeout_s=node_timeout_s
            )
        for device, how in early:
            cluster.died(device, how)
        cluster.open()
    except BaseException:
        server.stop()
        raise
    if detached:
        server.release()
    else:
        atexit.register(cluster.close)
    return cluster


def whereabouts_of(content: Mapping[str, Any], credentials: Mapping[str, Credentials] | None) -> Whereabouts:
    """Where the nodes of a cluster file listen, and what to show them."""
    targets = {device: entry["target"] for device, entry in content["devices"].items()}
    return Whereabouts(targets, content["arbiter"], None if credentials is None else credentials[CONTROLLER])


@contextmanager
def launch(
    topology: Topology,
    pace: float | None = None,
    *,
    flash_folder: Path | None = None,
    needs: Needs | None = None,
    listening: Listening | None = None,
    node_timeout_s: float = NODE_TIMEOUT_S,
    take_over: bool = False,
) -> Iterator[Cluster]:
    """A cluster for the length of a ``with``.

    Args:
        topology: what to start.
        pace: wall seconds per device second; None answers as fast as the machine can.
        flash_folder: where flash tiers lie, by device, and stay; None puts them into the run directory.
        needs: bytes that will be allocated, by (device, tier), for the preflight [bytes].
        node_timeout_s: how long a node may be silent before the run ends with its name [s of wall time].
        listening: addresses of nodes, which then demand TLS and a token; None for sockets in the run directory.
        take_over: whether to take `flash_folder` from nodes that still hold it, frozen or out of reach: when they wake
            they write nothing.

    Raises:
        MissingExtra: nodes shall listen on addresses and the library that makes certificates is not installed.
        PreflightFailed: the machine lacks memory, disk or files.
        StartFailed: a node did not become ready.
    """
    cluster = start(
        topology,
        pace,
        flash_folder,
        needs or {},
        "",
        detached=False,
        listening=listening,
        node_timeout_s=node_timeout_s,
        take_over=take_over,
    )
    try:
        yield cluster
    finally:
        cluster.close()

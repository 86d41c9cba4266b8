"""Serves a device or the arbiter in this process, with health checking and reflection."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event as Gate

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from node.client import CHANNEL_OPTIONS
from node.rpc import node_pb2, node_pb2_grpc
from node.runtime.device import EmulatedDevice, NodeConfig
from node.service.grants import ArbiterService
from node.service.node import NodeService

_WORKERS = 512
"""Threads come as calls need them; each stream of a peer keeps one."""


def serve_node(config: NodeConfig, ready: Callable[[], None]) -> None:
    """Emulates a device until it is shut down; calls `ready` once it serves.

    Raises:
        NodeError: the tiers cannot be opened.
        RuntimeError: the address cannot be bound.
    """
    stop = Gate()
    device = EmulatedDevice(config)
    server = _server()
    node_pb2_grpc.add_NodeServicer_to_server(NodeService(device, stop), server)
    _start(server, "Node", config.target)
    ready()
    stop.wait()
    server.stop(0.2).wait()
    device.close()


def serve_arbiter(
    target: str, links: dict[str, float], epoch: float, dilation: float, ready: Callable[[], None]
) -> None:
    """Grants links until the process is ended; calls `ready` once it serves."""
    server = _server()
    node_pb2_grpc.add_ArbiterServicer_to_server(ArbiterService(links, epoch, dilation), server)
    _start(server, "Arbiter", target)
    ready()
    server.wait_for_termination()


def _server() -> grpc.Server:
    options = [*CHANNEL_OPTIONS, ("grpc.so_reuseport", 0)]
    return grpc.server(ThreadPoolExecutor(_WORKERS, thread_name_prefix="rpc"), options=options)


def _start(server: grpc.Server, service: str, target: str) -> None:
    full_name = node_pb2.DESCRIPTOR.services_by_name[service].full_name
    checks = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection((full_name, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    server.add_insecure_port(target)
    server.start()
    for name in ("", full_name):
        checks.set(name, health_pb2.HealthCheckResponse.SERVING)

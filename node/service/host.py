"""Serves a device or the arbiter in this process, with health checking and reflection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event as Gate

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from node.rpc import node_pb2, node_pb2_grpc
from node.runtime.device import EmulatedDevice
from node.runtime.parts import NodeConfig
from node.service.admission import Admission
from node.service.grants import ArbiterService
from node.service.group import node_group
from node.service.limits import LIMITS, WORKERS, Limits
from node.service.node import NodeService
from node.wire.channel import bind, server_options
from node.wire.credentials import Credentials

Ready = Callable[[str], None]
"""Told once a process serves, and where: port 0 lets the system choose one."""


def serve_node(config: NodeConfig, ready: Ready) -> None:
    """Emulates a device until it is shut down; calls `ready` once it serves.

    Raises:
        UnsecuredAddress: an address that strangers reach, without credentials.
        NodeError: the tiers cannot be opened.
        RuntimeError: the address cannot be bound.
    """
    stop = Gate()
    device = EmulatedDevice(config)
    server = _server(config.credentials)
    node_pb2_grpc.add_NodeServicer_to_server(NodeService(device, stop), server)
    ready(_start(server, "Node", config.target, config.credentials))
    stop.wait()
    server.stop(0.2).wait()
    device.close()


def serve_nodes(configs: Sequence[NodeConfig], ready: Ready) -> None:
    """Emulates several devices behind one socket until each of them is shut down; calls `ready` once it serves.

    Raises:
        NodeError: the tiers of one cannot be opened.
        RuntimeError: the address cannot be bound.
    """
    stops = [Gate() for _ in configs]
    devices = [EmulatedDevice(config) for config in configs]
    services = {
        config.device: NodeService(device, stop)
        for config, device, stop in zip(configs, devices, stops, strict=True)
    }  # fmt: skip
    server = _server(None, len(configs))
    node_pb2_grpc.add_NodeServicer_to_server(node_group(services), server)
    ready(_start(server, "Node", configs[0].target, None))
    for stop in stops:
        stop.wait()
    server.stop(0.2).wait()
    for device in devices:
        device.close()


def serve_arbiter(
    target: str,
    links: dict[str, float],
    epoch: float,
    dilation: float,
    credentials: Credentials | None,
    ready: Ready,
) -> None:
    """Grants links until the process is ended; calls `ready` once it serves.

    Raises:
        UnsecuredAddress: an address that strangers reach, without credentials.
        RuntimeError: the address cannot be bound.
    """
    server = _server(credentials)
    node_pb2_grpc.add_ArbiterServicer_to_server(ArbiterService(links, epoch, dilation), server)
    ready(_start(server, "Arbiter", target, credentials))
    server.wait_for_termination()


def _server(credentials: Credentials | None, devices: int = 1) -> grpc.Server:
    workers = ThreadPoolExecutor(devices * WORKERS, thread_name_prefix="rpc")
    limits = {kind: devices * most for kind, most in LIMITS.items()}
    return grpc.server(
        workers,
        options=server_options(credentials),
        interceptors=[*([] if credentials is None else [Admission(credentials)]), Limits(limits)],
    )


def _start(server: grpc.Server, service: str, target: str, credentials: Credentials | None) -> str:
    full_name = node_pb2.DESCRIPTOR.services_by_name[service].full_name
    checks = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection((full_name, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    bound = bind(server, target, credentials)
    server.start()
    for name in ("", full_name):
        checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    return bound

"""Several devices behind one socket: each call says in its metadata whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partialmethod
from typing import Any

import grpc

from node.errors import NotCarried
from node.protocol import DEVICE_KEY
from node.rpc import node_pb2, node_pb2_grpc
from node.service.node import NodeService
from node.service.status import end_with


def node_group(services: Mapping[str, NodeService]) -> node_pb2_grpc.NodeServicer:
    """A service that hands every call to the device that it names; a call that names none is the first one's."""
    first = next(iter(services))

    def call(_: object, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        metadata = context.invocation_metadata() or ()
        device = next((str(value) for key, value in metadata if key == DEVICE_KEY), first)
        if device not in services:
            known = ", ".join(list(services)[:8])
            end_with(context, NotCarried(f"this process carries no device {device[:80]!r}; it begins with {known}"))
        return getattr(services[device], method)(request, context)

    methods = node_pb2.DESCRIPTOR.services_by_name["Node"].methods
    calls = {method.name: partialmethod(call, method.name) for method in methods}
    group: type[node_pb2_grpc.NodeServicer] = type("NodeGroup", (node_pb2_grpc.NodeServicer,), calls)
    return group()

"""Grants shares of what this process owns, its ports and tiers or the links, to pushes that others carry out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from node.errors import BadAttribute, Unsupported
from node.memory.pacer import PacedFlow, Pacer
from node.memory.resources import SharedResource
from node.rpc import node_pb2
from node.wire.checks import LONGEST_S, MAX_RATE, MAX_SIZE_BYTES, SMALLEST, checked_number
from node.wire.status import failure_of

_WORKERS = 128
_MAX_WEIGHT = 1e9

Reply = Callable[[node_pb2.GrantReply], None]


class GrantDesk:
    """The flows of others on one pacer."""

    def __init__(self, owner: str, resources: Mapping[str, SharedResource], pacer: Pacer) -> None:
        self._owner, self._resources, self._pacer = owner, resources, pacer
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="grants")

    def conversation(self, reply: Reply) -> Conversation:
        """One stream of requests; its replies go to `reply` in any order of flows."""
        return Conversation(self, reply)

    def resource(self, name: str) -> SharedResource:
        """The resource called `name`.

        Raises:
            Unsupported: there is none.
        """
        if name not in self._resources:
            has = ", ".join(self._resources) or "none"
            raise Unsupported(f"{self._owner} has no resource {name!r} to grant; it has {has}")
        return self._resources[name]

    def open(self, request: node_pb2.GrantRequest) -> PacedFlow:
        """Starts a flow.

        Raises:
            Unsupported: it names a resource that is not here, or none.
            BadAttribute: an invalid number.
        """
        if len(request.resources) != len(request.weights):
            raise BadAttribute(
                f"{len(request.resources)} resources with {len(request.weights)} weights; send one for each"
            )
        loads = tuple(
            (self.resource(name), checked_number(f"weight of {name}", weight, "", _MAX_WEIGHT, SMALLEST))
            for name, weight in zip(request.resources, request.weights, strict=True)
        )
        if not loads:
            raise Unsupported(f"{self._owner} was asked to grant a flow that loads nothing")
        limit = checked_number("rate_limit_bytes_per_s", request.rate_limit_bytes_per_s, "bytes/s", MAX_RATE)
        start_at = checked_number("start_at", request.start_at, "s", LONGEST_S)
        return self._pacer.open(_target(request), limit or math.inf, loads, start_at)

    def extend(self, flow: PacedFlow, request: node_pb2.GrantRequest) -> None:
        """Lets a flow go on."""
        self._pacer.extend(flow, _target(request))

    def answer(self, flow: PacedFlow, request: node_pb2.GrantRequest, reply: Reply) -> None:
        """Answers a request when it is reached, in a thread of its own."""
        self._pool.submit(self._wait, flow, request, reply)

    def close(self, flow: PacedFlow) -> None:
        """Forgets a flow."""
        self._pacer.close(flow)

    def _wait(self, flow: PacedFlow, request: node_pb2.GrantRequest, reply: Reply) -> None:
        try:
            end_at = self._pacer.wait(flow, float(request.target_bytes))
        except Exception as error:
            self.close(flow)
            reply(node_pb2.GrantReply(flow=request.flow, failure=failure_of(error)))
            return
        if request.last:
            self.close(flow)
        reply(node_pb2.GrantReply(flow=request.flow, target_bytes=request.target_bytes, end_at=end_at))


def _target(request: node_pb2.GrantRequest) -> float:
    return checked_number("target_bytes", float(request.target_bytes), "bytes", MAX_SIZE_BYTES)


class Conversation:
    """One asker's flows."""

    def __init__(self, desk: GrantDesk, reply: Reply) -> None:
        self._desk, self._reply = desk, reply
        self._flows: dict[int, PacedFlow] = {}
        self._last: list[PacedFlow] = []

    def take(self, request: node_pb2.GrantRequest) -> None:
        """Takes the next request of a flow."""
        try:
            flow = self._flows.get(request.flow)
            if flow is None:
                flow = self._flows[request.flow] = self._desk.open(request)
            else:
                self._desk.extend(flow, request)
        except Exception as error:  # the asker hears of it; the others go on
            self._reply(node_pb2.GrantReply(flow=request.flow, failure=failure_of(error)))
            return
        if request.last:
            # It stays known until its end is told, so that it ends with the asker.
            self._last.append(self._flows.pop(request.flow))
            self._last = [flow for flow in self._last if not flow.closed]
        self._desk.answer(flow, request, self._reply)

    def end(self) -> None:
        """The asker has gone; what it left unfinished takes no share any more."""
        for flow in (*self._flows.values(), *self._last):
            self._desk.close(flow)
        self._flows.clear()
        self._last.clear()

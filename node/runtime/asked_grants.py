"""A share of what another process owns, asked for as a push goes on: ports of a peer, or links of the arbiter."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from queue import Empty, SimpleQueue
from threading import Lock, Thread

import grpc

from node.errors import PeerUnreachable
from node.memory.resources import Side
from node.rpc import node_pb2, node_pb2_grpc
from node.wire.status import error_of
from node.wire.turns import turns

_Requests = SimpleQueue["node_pb2.GrantRequest | None"]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One flow: the stream that it is asked for on, and what has come back."""

    requests: _Requests
    replies: SimpleQueue[node_pb2.GrantReply]


class Grants:
    """Asks an owner of shared resources, a peer or the arbiter, for a share as a push goes on.

    A stream that has ended fails the flows that were on it; the next flow opens another.
    """

    def __init__(self, owner: str, stub: node_pb2_grpc.NodeStub | node_pb2_grpc.ArbiterStub) -> None:
        self._owner, self._stub = owner, stub
        self._requests: _Requests | None = None
        self._flows: dict[int, _Asked] = {}
        self._numbers = count(1)
        self._lock = Lock()

    def open(self, loads: Side, start_at: float, rate_limit_bytes_per_s: float, first_bytes: int, last: bool) -> int:
        """Starts a flow and asks for its first bytes; returns its number."""
        number = next(self._numbers)
        with self._lock:
            requests = self._requests
            if requests is None:
                requests = self._requests = SimpleQueue()
                Thread(target=self._receive, args=(requests,), name=f"grants.{self._owner}", daemon=True).start()
            self._flows[number] = _Asked(requests, SimpleQueue())
        requests.put(
            node_pb2.GrantRequest(
                flow=number,
                resources=[resource.name for resource, _ in loads],
                weights=[weight for _, weight in loads],
                start_at=start_at,
                rate_limit_bytes_per_s=rate_limit_bytes_per_s,
                target_bytes=first_bytes,
                last=last,
            )
        )
        return number

    def extend(self, number: int, target_bytes: int, last: bool) -> None:
        """Asks for more bytes."""
        self._flows[number].requests.put(node_pb2.GrantRequest(flow=number, target_bytes=target_bytes, last=last))

    def reached(self, number: int, patience_s: float) -> float:
        """Blocks until the oldest request that was not answered yet is granted; when it was [device time, s].

        Args:
            number: of the flow.
            patience_s: how long that may take [s of wall time].

        Raises:
            PeerUnreachable: the owner has gone, or is silent.
        """
        try:
            reply = self._flows[number].replies.get(timeout=patience_s)
        except Empty:
            raise PeerUnreachable(
                f"{self._owner} has not granted bandwidth for {patience_s:.3g} s of wall time; its process is stuck"
            ) from None
        if reply.failure.type:
            raise error_of(reply.failure)
        return reply.end_at

    def close(self, number: int) -> None:
        """Forgets a flow whose last request is granted."""
        self._flows.pop(number, None)

    def _receive(self, requests: _Requests) -> None:
        why = "it closed the stream"
        try:
            for turn in turns(requests):
                call = self._stub.Grant(iter(turn), timeout=turn.deadline_s, metadata=turn.metadata)
                for reply in call:
                    flow = self._flows.get(reply.flow)
                    if flow is not None:
                        flow.replies.put(reply)
        except grpc.RpcError as call:
            why = str(call.details())
        requests.put(None)  # lets gRPC's sending thread end
        text = f"{self._owner} does not grant bandwidth any more ({why}); its process has probably ended"
        gone = node_pb2.GrantReply(failure=node_pb2.Failure(type="PeerUnreachable", text=text))
        with self._lock:
            if self._requests is requests:
                self._requests = None
            left = [flow for flow in self._flows.values() if flow.requests is requests]
        for flow in left:
            flow.replies.put(gone)

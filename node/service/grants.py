"""The Grant stream, of a node and of the arbiter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Lock, Thread

import grpc

from node.clock import PacedClock, wall_now
from node.errors import Unsupported
from node.memory.pacer import Pacer
from node.memory.resources import SharedResource
from node.rpc import node_pb2, node_pb2_grpc
from node.runtime.grants import Conversation, GrantDesk
from node.service.status import statuses
from node.service.streams import Streams
from node.wire.checks import checked_epoch
from node.wire.status import failure_of

GrantStreams = Streams[node_pb2.GrantRequest, node_pb2.GrantReply]


def grants(desk_now: Callable[[], GrantDesk | None]) -> GrantStreams:
    """The Grant streams of one process."""

    def begin(requests: Iterator[node_pb2.GrantRequest], replies: SimpleQueue[node_pb2.GrantReply | None]) -> None:
        Thread(target=_read, args=(requests, replies, desk_now), name="grants", daemon=True).start()

    return Streams(begin)


def _read(
    requests: Iterator[node_pb2.GrantRequest],
    replies: SimpleQueue[node_pb2.GrantReply | None],
    desk_now: Callable[[], GrantDesk | None],
) -> None:
    """Has requests replied to as they are reached, until the asker closes the stream."""
    conversations: dict[int, Conversation] = {}
    try:
        for request in requests:
            desk = desk_now()  # a clock that is started again comes with a desk of its own
            if desk is None:
                error = Unsupported("bandwidth is granted with pacing only; start the run with it")
                replies.put(node_pb2.GrantReply(flow=request.flow, failure=failure_of(error)))
                continue
            conversation = conversations.get(id(desk))
            if conversation is None:
                conversations.clear()
                conversation = conversations[id(desk)] = desk.conversation(replies.put)
            conversation.take(request)
    except grpc.RpcError:
        pass  # the asker has gone
    finally:
        for conversation in conversations.values():
            conversation.end()
        replies.put(None)


class ArbiterService(node_pb2_grpc.ArbiterServicer):
    """Grants the links of a run."""

    def __init__(self, links: dict[str, float], epoch: float, dilation: float) -> None:
        self._links, self._dilation = links, dilation
        self._lock = Lock()
        self._start(epoch)
        self._grants = grants(lambda: self._desk)

    def Grant(
        self, requests: Iterator[node_pb2.GrantRequest], context: grpc.ServicerContext
    ) -> Iterator[node_pb2.GrantReply]:
        """See the contract in proto/node/rpc/node.proto."""
        return self._grants.serve(requests, context)

    def StartClock(
        self, request: node_pb2.StartClockRequest, context: grpc.ServicerContext
    ) -> node_pb2.StartClockReply:
        """See the contract in proto/node/rpc/node.proto."""
        with statuses(context), self._lock:
            self._start(checked_epoch(request.epoch, wall_now()))
        return node_pb2.StartClockReply()

    def _start(self, epoch: float) -> None:
        resources = {name: SharedResource(name, capacity) for name, capacity in self._links.items()}
        self._desk = GrantDesk("the arbiter", resources, Pacer(PacedClock(epoch, self._dilation)))

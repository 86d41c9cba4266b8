"""Shares that are asked for: refused when they cannot be meant, and never waited for without end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from node.clock import PacedClock, wall_now
from node.errors import BadAttribute, PeerUnreachable
from node.memory.pacer import Pacer
from node.memory.resources import SharedResource
from node.rpc import node_pb2
from node.runtime.asked_grants import Grants
from node.runtime.grants import GrantDesk

BUS = SharedResource("bus", 1e9)
SIDE = ((BUS, 1.0),)


def asked(**changed: Any) -> node_pb2.GrantRequest:
    fields: dict[str, Any] = {"flow": 1, "resources": ["bus"], "weights": [1.0], "target_bytes": 1000, "last": True}
    return node_pb2.GrantRequest(**{**fields, **changed})


@pytest.fixture
def desk() -> GrantDesk:
    return GrantDesk("owner", {"bus": BUS}, Pacer(PacedClock(wall_now(), 1.0)))


@pytest.mark.parametrize(
    "changed",
    [
        {"weights": []},
        *({"weights": [value]} for value in (math.nan, math.inf, -1.0, 0.0)),
        *({"start_at": value} for value in (math.nan, math.inf, -1.0, 1e300)),
        *({"rate_limit_bytes_per_s": value} for value in (math.nan, math.inf, -1.0)),
        {"target_bytes": 1 << 63},
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_and_the_next_is_granted(desk: GrantDesk, changed: dict[str, Any]) -> None:
    replies: SimpleQueue[node_pb2.GrantReply] = SimpleQueue()
    conversation = desk.conversation(replies.put)
    conversation.take(asked(**changed))
    assert replies.get(timeout=5).failure.type == "BadAttribute"
    conversation.take(asked(flow=2))
    assert not replies.get(timeout=5).failure.type
    with pytest.raises(BadAttribute):
        desk.open(asked(**changed))


def test_what_an_asker_leaves_takes_no_share(desk: GrantDesk) -> None:
    replies: SimpleQueue[node_pb2.GrantReply] = SimpleQueue()
    gone = desk.conversation(replies.put)
    gone.take(asked(target_bytes=1 << 60))
    gone.end()
    desk.conversation(replies.put).take(asked(target_bytes=10_000_000))
    end_at = next(reply.end_at for reply in iter(lambda: replies.get(timeout=20), None) if reply.target_bytes < 1 << 60)
    assert end_at == pytest.approx(0.01, rel=0.5)


class Broken(grpc.RpcError):  # type: ignore[misc]
    def details(self) -> str:
        return "socket closed"


class Stub:
    """An owner whose first stream breaks, whose second grants and whose third is silent."""

    def __init__(self) -> None:
        self.streams = 0

    def Grant(
        self, requests: Iterator[node_pb2.GrantRequest], timeout: float, metadata: object
    ) -> Iterator[node_pb2.GrantReply]:
        self.streams += 1
        number = self.streams
        for request in requests:
            if number == 1 or request.target_bytes == 13:
                raise Broken
            if request.target_bytes != 7:
                yield node_pb2.GrantReply(flow=request.flow, end_at=2.5)


def test_a_stream_that_broke_is_opened_anew() -> None:
    stub = Stub()
    grants = Grants("peer", stub)  # type: ignore[arg-type]
    first = grants.open(SIDE, 0.0, 0.0, 100, True)
    with pytest.raises(PeerUnreachable, match=r"peer .*socket closed"):
        grants.reached(first, 5.0)
    grants.extend(first, 200, True)  # goes nowhere, and harms nobody
    grants.close(first)
    second = grants.open(SIDE, 0.0, 0.0, 100, True)
    assert grants.reached(second, 5.0) == 2.5
    silent = grants.open(SIDE, 0.0, 0.0, 7, True)
    with pytest.raises(PeerUnreachable, match="stuck"):
        grants.reached(silent, 0.05)
    assert stub.streams == 2

"""Numbers and lists that cannot be meant: a typed error with the right status, and the node goes on serving."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import grpc
import pytest

from controller.launch import Cluster
from node.rpc import node_pb2

pytestmark = pytest.mark.live
_ids = count(7_000_000)


@pytest.fixture
def buffer(pair: Cluster, fresh: Callable[[str], str]) -> Iterator[str]:
    name = fresh("x")
    pair.clients["a"].allocate(name, "hbm", "fp32", (4,))
    yield name
    pair.clients["a"].free(name)


def operand(name: str) -> node_pb2.Operand:
    return node_pb2.Operand(name=name, shape=[4])


def kernel(name: str) -> node_pb2.Call:
    whole = operand(name)
    return node_pb2.Call(key=1, launch=node_pb2.LaunchCall(op="add", inputs=[whole, whole], outputs=[whole]))


def push(name: str, *, nowhere: bool = False, **changed: float) -> node_pb2.Call:
    there = [] if nowhere else [node_pb2.Destination(device="a", operand=operand(name))]
    return node_pb2.Call(key=1, push=node_pb2.PushCall(source=operand(name), destinations=there, **changed))


def reply(pair: Cluster, does: node_pb2.Call, **changed: Any) -> node_pb2.BatchReply:
    columns: dict[str, Any] = {
        "id": [next(_ids)],
        "call": [1],
        "wait_count": [0],
        "notify_count": [0],
        "timeout_s": 3.0,
    }
    batch = node_pb2.Batch(batch=1, calls=[does], **{**columns, **changed})
    (answer,) = pair.clients["a"].stub.Stream(iter([batch]), timeout=10)
    return answer


@pytest.mark.parametrize(
    "changed",
    [
        *({"timeout_s": value, "wait_count": [1], "wait": [999_000]} for value in (math.inf, math.nan, 1e300, -1.0)),
        *({"ready_at": value} for value in (math.inf, math.nan, 1e300, -1.0)),
        {"wait_count": [2], "wait": [999_000]},
        {"wait": [999_000]},
        {"notify_count": [2], "notify": [0], "devices": ["b"]},
        {"notify_count": [1], "notify": [1], "devices": ["b"]},
        {"id": [5, 5], "call": [1, 1], "wait_count": [0, 0], "notify_count": [0, 0]},
        {"id": [5, 6]},
        {"call": [2]},
    ],
    ids=str,
)
def test_a_batch(pair: Cluster, buffer: str, changed: dict[str, Any]) -> None:
    assert reply(pair, kernel(buffer), **changed).refused.type == "BadAttribute"
    answer = reply(pair, kernel(buffer))
    assert not answer.refused.type and not answer.failures


@pytest.mark.parametrize(
    "changed",
    [
        {"nowhere": True},
        *({"latency_s": value} for value in (math.inf, math.nan, -1.0, 1e300)),
        *({"rate_limit_bytes_per_s": value} for value in (math.inf, math.nan, -1.0)),
    ],
    ids=str,
)
def test_a_push(pair: Cluster, buffer: str, changed: dict[str, Any]) -> None:
    assert reply(pair, push(buffer, **changed)).refused.type == "BadAttribute"
    answer = reply(pair, push(buffer))
    assert not answer.refused.type and not answer.failures


def test_statuses(pair: Cluster, buffer: str) -> None:
    stub = pair.clients["a"].stub
    signal, chunk, failure = node_pb2.SignalMessage, node_pb2.WriteChunk, node_pb2.Failure(type="TierFull", text="x")
    acts: list[Callable[[], object]] = [
        *(
            lambda value=value: stub.Wait(node_pb2.WaitRequest(id=[999_000], timeout_s=value), timeout=5)
            for value in (math.inf, math.nan, 1e300, -1.0)
        ),
        *(
            lambda value=value: stub.StartClock(node_pb2.StartClockRequest(epoch=value), timeout=5)
            for value in (math.inf, math.nan, 1e300, -1.0)
        ),
        lambda: stub.Signal(iter([signal(device="b", id=[1, 2], end_at=[0.0])]), timeout=5),
        lambda: stub.Signal(iter([signal(device="b", id=[999_000], end_at=[math.nan])]), timeout=5),
        lambda: stub.Signal(iter([signal(device="b", id=[999_000], end_at=[0.0], failures=[failure])]), timeout=5),
        lambda: stub.Signal(iter([signal(device="b", id=[999_000], end_at=[math.inf])]), timeout=5),
        lambda: stub.Signal(iter([signal(device="b", arrivals=[node_pb2.Arrival(tier="nope")])]), timeout=5),
        lambda: stub.Write(iter([]), timeout=5),
        lambda: stub.Write(iter([chunk(name=buffer, total_bytes=16, data=bytes(8))]), timeout=5),
    ]
    for number, act in enumerate(acts):
        with pytest.raises(grpc.RpcError) as found:
            act()
        assert found.value.code() == grpc.StatusCode.INVALID_ARGUMENT, number
    assert not reply(pair, kernel(buffer)).failures

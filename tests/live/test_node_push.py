"""Bytes and events between nodes: shared memory in a host, streams between hosts, flash at either end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from controller.launch import Cluster
from node.client import LaunchKernel, Operand, Push
from node.errors import PeerUnreachable

pytestmark = pytest.mark.live
Names = Callable[[str], str]
WORDS = 5_000_000 // 4


@pytest.mark.parametrize(
    ("source", "tier", "target", "into"),
    [
        ("a", "hbm", "b", "hbm"),
        ("a", "hbm", "far", "hbm"),
        ("a", "hbm", "drive", "flash"),
        ("drive", "flash", "a", "hbm"),
        ("drive", "flash", "drive", "hbm"),
        ("drive", "hbm", "drive", "flash"),
        ("far", "hbm", "drive", "flash"),
    ],
)
def test_a_push_arrives(pair: Cluster, fresh: Names, source: str, tier: str, target: str, into: str) -> None:
    clients, name, there = pair.clients, fresh("x"), fresh("y")
    values = np.arange(WORDS, dtype=np.int32)
    clients[source].allocate(name, tier, "int32", values.shape)
    clients[target].allocate(there, into, "int32", (WORDS + 10,))
    clients[source].write(name, values)
    pair.start_clocks()  # what earlier pushes booked would slow this one down
    before = clients[target].counters()
    push = Push(
        id=1,
        source=Operand(name, 400, (WORDS - 100,)),
        destinations=((target, Operand(there, 40, (WORDS - 100,))),),
        latency_s=0.25,
        out_port="" if source == target else "pcie",
        in_port="" if source == target else "pcie",
        links=() if source == target else (f"{source}-root>", f"{target}-root<"),
    )
    (done,) = clients[source].submit([push], ready_at=1.0).result(30)
    assert done.error == ""
    moved = 4 * (WORDS - 100)
    rate = min(1e8, 5e7 if into == "flash" else 1e9, 1e8 if tier == "flash" else 1e9)
    if source == target:
        rate = min(5e7 if into == "flash" else 1e9, 1e8 if tier == "flash" else 1e9)
    assert done.end_at - done.start_at == pytest.approx(0.25 + moved / rate, rel=1e-6)
    result = clients[target].read(there)
    assert np.array_equal(result[10 : 10 + WORDS - 100], values[100:])
    assert not result[:10].any()
    place = [entry.tier for entry in before.tiers].index(into)

    def written() -> int:
        return clients[target].counters().tiers[place].written_bytes - before.tiers[place].written_bytes

    assert eventually(lambda: written() == moved), written()
    clients[source].free(name)
    clients[target].free(there)


def eventually(holds: Callable[[], bool]) -> bool:
    """Arrivals are counted when their message comes, which is a little after the bytes."""
    import time

    for _ in range(200):
        if holds():
            return True
        time.sleep(0.01)
    return False


def test_a_plan_over_two_nodes_needs_no_controller_in_between(pair: Cluster, fresh: Names) -> None:
    clients, x = pair.clients, fresh("x")
    shape = (64,)
    whole = Operand(x, 0, shape)
    for device in ("a", "b"):
        clients[device].allocate(x, "hbm", "fp32", shape)
    clients["a"].write(x, np.ones(shape, np.float32))
    on_a: list[LaunchKernel | Push] = []
    on_b: list[LaunchKernel | Push] = []
    rounds = 20
    for number in range(rounds):
        first = 1000 + 4 * number
        waits = (first - 1,) if number else ()
        on_a.append(LaunchKernel(first, "add", (whole, whole), (whole,), wait=waits))
        on_a.append(Push(first + 1, whole, (("b", whole),), queue="copy", wait=(first,), notify=("b",)))
        on_b.append(LaunchKernel(first + 2, "add", (whole, whole), (whole,), wait=(first + 1,)))
        on_b.append(Push(first + 3, whole, (("a", whole),), queue="copy", wait=(first + 2,), notify=("a",)))
    futures = [clients["b"].submit(on_b, ready_at=0.0), clients["a"].submit(on_a, ready_at=0.0)]
    ended = [future.result(30) for future in futures]
    assert all(not entry.error for part in ended for entry in part)
    assert clients["a"].read(x)[0] == 2.0 ** (2 * rounds)
    times = {entry.id: entry for part in ended for entry in part}
    for event in range(1001, 1000 + 4 * rounds):
        assert times[event].start_at >= times[event - 1].end_at
    for device in ("a", "b"):
        clients[device].free(x)


def test_a_failure_travels_to_the_peer_that_waits(pair: Cluster, fresh: Names) -> None:
    x = fresh("x")
    pair.clients["b"].allocate(x, "hbm", "fp32", (4,))
    whole = Operand(x, 0, (4,))
    waiting = pair.clients["b"].submit(
        [LaunchKernel(2002, "add", (whole, whole), (whole,), wait=(2001,))], ready_at=0.0
    )
    (failed,) = pair.clients["a"].submit([Push(2001, whole, (("b", whole),), notify=("b",))], ready_at=0.0).result(20)
    assert failed.error.startswith("UnknownBuffer")
    (chained,) = waiting.result(20)
    assert "2001" in chained.error and "UnknownBuffer" in chained.error
    pair.clients["b"].free(x)


def test_pushes_that_cannot_be(pair: Cluster, fresh: Names) -> None:
    x = fresh("x")
    for device in ("a", "b"):
        pair.clients[device].allocate(x, "hbm", "fp32", (4,))
    whole = Operand(x, 0, (4,))

    def error(push: Push) -> str:
        return pair.clients["a"].submit([push], ready_at=0.0).result(20)[0].error

    assert error(Push(1, whole, (("nobody", whole),))).startswith("PeerUnreachable")
    assert error(Push(2, whole, (("b", Operand(fresh("z"), 0, (4,))),))).startswith("UnknownBuffer")
    assert error(Push(3, whole, (("b", Operand(x, 8, (4,))),))).startswith("OutOfRange")
    assert error(Push(4, whole, (("b", Operand(x, 0, (2,))),))).startswith("ShapeMismatch")
    assert error(Push(5, whole, (("b", whole),), out_port="nvlink")).startswith("Unsupported")
    with pytest.raises(PeerUnreachable):
        pair.clients["a"].submit([Push(6, whole, (("b", whole),), notify=("nobody",))], ready_at=0.0).result(20)
    assert error(Push(7, whole, (("b", whole),))) == ""
    pair.clients["b"].free(x)
    assert error(Push(8, whole, (("b", whole),))).startswith("UnknownBuffer")
    pair.clients["a"].free(x)

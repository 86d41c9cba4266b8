"""Faults that nodes are told of: slower tiers, dropped links, slow reads of a drive, and changed bytes."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from controller.launch import Cluster, launch
from node.client import CommandCompletion, NodeClient, Operand, Push
from node.errors import BadAttribute

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]
SIZE = 1_000_000


@pytest.fixture(scope="module")
def pair(twins: SimpleNamespace) -> Iterator[Cluster]:
    declared = twins.topology(("a", "h", twins.device_spec()), ("b", "h", twins.device_spec("csd", flash=True)))
    with launch(declared) as cluster:
        for client in cluster.clients.values():
            client.allocate("x", "hbm", "uint8", (SIZE,))
            client.allocate("y", "hbm", "uint8", (SIZE,))
        cluster.clients["b"].allocate("kept", "flash", "uint8", (SIZE,))
        yield cluster


@pytest.fixture(autouse=True)
def whole_again(pair: Cluster) -> Iterator[None]:
    yield
    for client in pair.clients.values():
        client.strike()


class Numbers:
    event = 0


def pushed(client: NodeClient, source: str, device: str, target: str, links: tuple[str, ...] = ()) -> CommandCompletion:
    Numbers.event += 1
    ports = {"out_port": "pcie", "in_port": "pcie"} if links else {}
    push = Push(
        Numbers.event, Operand(source, 0, (SIZE,)), ((device, Operand(target, 0, (SIZE,))),), links=links, **ports
    )
    (done,) = client.submit([push], ready_at=100.0 * Numbers.event).result(30)
    return done


def took_s(done: CommandCompletion) -> float:
    assert not done.error
    return done.end_at - done.start_at


def test_a_throttled_tier_takes_as_much_longer(pair: Cluster) -> None:
    client = pair.clients["a"]
    healthy = took_s(pushed(client, "x", "a", "y"))
    client.strike({"hbm": (0.25, 0.25)})
    assert took_s(pushed(client, "x", "a", "y")) == pytest.approx(4 * healthy, rel=0.05)
    client.strike()
    assert took_s(pushed(client, "x", "a", "y")) == pytest.approx(healthy)


def test_slow_reads_of_a_drive_leave_its_writes_alone(pair: Cluster) -> None:
    client = pair.clients["b"]
    read, written = took_s(pushed(client, "kept", "b", "y")), took_s(pushed(client, "x", "b", "kept"))
    client.strike({"flash": (1 / 3, 1.0)})
    assert took_s(pushed(client, "kept", "b", "y")) > 2 * read
    assert took_s(pushed(client, "x", "b", "kept")) == pytest.approx(written)


def test_a_push_over_a_dropped_link_fails_with_its_name(pair: Cluster) -> None:
    client, way = pair.clients["a"], ("a-root>", "b-root<")
    client.strike(dropped=["b-root"])
    done = pushed(client, "x", "b", "y", way)
    assert done.dropped_link == "b-root" and done.error.startswith("LinkDropped: link b-root carries nothing")
    took_s(pushed(client, "x", "a", "y"))  # what takes another way goes on
    client.strike()
    took_s(pushed(client, "x", "b", "y", way))


def test_a_corrupt_link_changes_one_bit_and_tells_nobody(pair: Cluster) -> None:
    client, way = pair.clients["a"], ("a-root>", "b-root<")
    values = np.arange(SIZE).astype(np.uint8)
    client.write("x", values)
    client.strike(corrupt={("link", "b-root"): 1.0}, seed=3)
    before = client.counters().corrupted
    took_s(pushed(client, "x", "b", "y", way))
    arrived = pair.clients["b"].read("y")
    assert np.unpackbits(arrived ^ values).sum() == 1
    assert client.counters().corrupted == before + 1
    np.testing.assert_array_equal(client.read("x"), values)  # what was sent is whole


def test_what_is_no_part_or_no_share_is_refused(pair: Cluster) -> None:
    client = pair.clients["a"]
    with pytest.raises(BadAttribute, match="a has no tier or port 'hbn'; it has"):
        client.strike({"hbn": (0.5, 0.5)})
    with pytest.raises(BadAttribute, match="share of hbm that is left is 0; use a number"):
        client.strike({"hbm": (0.0, 1.0)})
    with pytest.raises(BadAttribute, match="a 'rank' cannot change bytes"):
        client.strike(corrupt={("rank", "a"): 1.0})

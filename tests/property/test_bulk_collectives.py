"""Collectives timed in bulk take as long as their plans on the virtual executor, to 1e-9, on any fabric."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.collectives.bulk.timing import BY_PAIR, Ground, time_in_bulk
from controller.collectives.call import NO_IN_PLACE, Call
from controller.collectives.group import Group
from controller.collectives.measure.calls import measure, prepare
from controller.collectives.protocol import PLAIN, Protocol, as_seen
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import ComputeSpec, DeviceSpec, PortSpec, QueueSpec, TierSpec

GIGA = 1e9
ALGORITHMS = (
    ("all_reduce", "ring"),
    ("all_reduce", "hierarchical"),
    ("reduce_scatter", "ring"),
    ("all_gather", "ring"),
    ("all_to_all", "direct"),
    ("all_to_all", "pairwise"),
)
LIBRARY = Protocol("library", 5e-6, 3e-6, 7 * GIGA)


@dataclass(frozen=True)
class Box:
    """Hosts with a switch each around one switch, or around a leaf each and two spines."""

    hosts: int
    local: int
    launch_s: float
    tier_total: float | None
    simplex: bool
    spine_bytes_per_s: float | None
    slow_link: float | None
    slow_device: bool
    routing: str
    shuffled: tuple[int, ...]

    def topology(self) -> Topology:
        spec = DeviceSpec(
            "toy", "gpu", "for tests",
            {"hbm": TierSpec("hbm", "dram", 1 << 36, 40 * GIGA, 30 * GIGA, read_latency_s=2e-7, write_latency_s=3e-7,
                             total_bytes_per_s=self.tier_total, simplex=self.simplex)},
            {"vector": ComputeSpec("vector", {"fp32": 1e12})},
            {"fast": PortSpec("fast", 50 * GIGA, 60 * GIGA),
             "slow": PortSpec("slow", 9 * GIGA, 8 * GIGA, latency_s=1e-7)},
            {"stream": QueueSpec("stream", "compute", 1, 1e-6), "issue": QueueSpec("issue", "issue", 1, self.launch_s)},
        )  # fmt: skip
        other = replace(spec, computes={"vector": ComputeSpec("vector", {"fp32": 1e9})})
        devices: dict[str, Device] = {}
        links: list[Link] = []
        for rank in range(self.hosts * self.local):
            host, name = rank // self.local, f"gpu{rank}"
            devices[name] = Device(name, "gpu", rank, f"h{host}", other if self.slow_device and rank == 1 else spec)
            rate = (self.slow_link or 12.0) * GIGA if rank == 2 else 12 * GIGA
            inner, leaf = Endpoint(f"in{host}"), Endpoint("leaf" if self.spine_bytes_per_s is None else f"leaf{host}")
            links.append(Link(f"{name}-in", Endpoint(name, "fast"), inner, rate, 11 * GIGA, 1e-6))
            links.append(Link(f"{name}-leaf", Endpoint(name, "slow"), leaf, 5 * GIGA, 5 * GIGA, 2e-6))
        switches = [f"in{host}" for host in range(self.hosts)]
        if self.spine_bytes_per_s is None:
            switches.append("leaf")
        else:
            for host in range(self.hosts):
                links.append(
                    Link(f"up{host}", Endpoint(f"leaf{host}"), Endpoint("spine"), self.spine_bytes_per_s,
                         self.spine_bytes_per_s, 5e-7)
                )  # fmt: skip
                links.append(replace(links[-1], name=f"other{host}", b=Endpoint("other")))
                switches.append(f"leaf{host}")
            switches += ["spine", "other"]
        return Topology("box", "test", devices, tuple(switches), tuple(links), options={"routing": self.routing})

    def group(self) -> Group:
        names = tuple(f"gpu{rank}" for rank in self.shuffled)
        return Group(names, ("hbm",) * len(names), tuple(f"h{rank // self.local}" for rank in self.shuffled))


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    hosts, local = draw(st.sampled_from((2, 1, 3, 4))), draw(st.sampled_from((3, 1, 2, 4, 5, 8)))
    order = list(range(hosts * local))
    if draw(st.booleans()):
        order = draw(st.permutations(order))
    return Box(
        hosts, local,
        draw(st.sampled_from((0.0, 3e-6))),
        draw(st.sampled_from((None, 45 * GIGA, 14 * GIGA))),
        draw(st.booleans()),
        draw(st.sampled_from((None, 5 * GIGA, 20 * GIGA))),
        draw(st.sampled_from((None, 4.0))),
        draw(st.sampled_from((False, False, True))),
        draw(st.sampled_from(BY_PAIR)),
        tuple(order),
    )  # fmt: skip


@pytest.mark.parametrize(("collective", "name"), ALGORITHMS)
@settings(max_examples=15, deadline=None)
@given(boxes(), st.data())
def test_as_long_as_the_plan(collective: str, name: str, box: Box, data: st.DataObject) -> None:
    topology, group = box.topology(), box.group()
    size = group.world_size
    count = data.draw(st.one_of(st.integers(1, 3 * size), st.integers(1, 40).map(lambda times: times * size * 60)))
    in_place = collective not in NO_IN_PLACE and data.draw(st.booleans())
    pieces = 1 if collective == "all_to_all" else data.draw(st.integers(1, 3))
    call = Call(collective, group, count, "fp32", in_place=in_place, pieces=pieces)
    protocol = data.draw(st.sampled_from((PLAIN, LIBRARY)))
    seen = as_seen(topology, group, protocol)
    entry = prepare(call, name, protocol)
    outcome = measure(seen, entry)
    assert outcome.ok, outcome.ended
    ground = Ground(seen, group)
    ways = [(True, 1 << 20), (False, 1 << 20)]
    if name == "ring" and size > 1:
        window = data.draw(st.sampled_from((1, 100, 400)))
        ways += [(True, window), (False, window)]
    for folded, most in ways:
        bulk = time_in_bulk(ground, call, name, protocol, folded=folded, stream_above=most)
        assert bulk.time_s == pytest.approx(entry.time_s, rel=1e-9, abs=0.0)

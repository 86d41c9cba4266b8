"""Routes against a slow twin that lists every simple path, on random small fabrics."""

from __future__ import annotations

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import NoRoute
from controller.topology.graph import route
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import DeviceSpec, PortSpec

SPEC = DeviceSpec("bare", "gpu", "", {}, {}, {"p": PortSpec("p", 1e9, 1e9)}, {})
DEVICES, SWITCHES = ("a", "b", "c"), ("r", "s", "t", "u")
VERTICES = DEVICES + SWITCHES

cables = st.lists(
    st.tuples(st.sampled_from(VERTICES), st.sampled_from(VERTICES), st.sampled_from((1.0, 2.0, 4.0))).filter(
        lambda cable: cable[0] != cable[1]
    ),
    max_size=10,
)


def endpoint(vertex: str) -> Endpoint:
    return Endpoint(vertex, "p" if vertex in DEVICES else "")


def topology_of(links: list[Link]) -> Topology:
    return Topology("test", "", {n: Device(n, n, 0, "host", SPEC) for n in DEVICES}, SWITCHES, tuple(links))


def slow_route(links: list[Link], a: str, b: str) -> list[str] | None:
    """The best of all simple paths that pass switches only; ties are broken from the first name."""
    start, goal = sorted((a, b))
    graph = networkx.MultiGraph()
    graph.add_nodes_from(VERTICES)
    for link in links:
        graph.add_edge(link.a.vertex, link.b.vertex, key=link.name, latency_s=link.latency_s)
    paths = [
        path
        for path in networkx.all_simple_edge_paths(graph, start, goal)
        if all(head in SWITCHES for _, head, _ in path[:-1])
    ]
    if not paths:
        return None
    best = min(
        paths, key=lambda path: (len(path), sum(graph.edges[e]["latency_s"] for e in path), [e[2] for e in path])
    )
    names = [edge[2] for edge in best]
    return names if start == a else names[::-1]


@settings(max_examples=150, deadline=None)
@given(cables, st.permutations(range(10)))
def test_the_route_is_the_best_of_all_paths_in_any_order_of_declaration(drawn, order):
    links = [Link(f"l{i}", endpoint(a), endpoint(b), 1e9, 1e9, latency) for i, (a, b, latency) in enumerate(drawn)]
    shuffled = [links[i] for i in order if i < len(links)]
    for a, b in (("a", "b"), ("b", "a"), ("a", "c"), ("c", "b")):
        expected = slow_route(links, a, b)
        if expected is None:
            with pytest.raises(NoRoute):
                route(topology_of(shuffled), a, b)
            continue
        found = route(topology_of(shuffled), a, b)
        assert [hop.link.name for hop in found.hops] == expected
        assert found.hops[0].tail.vertex == a
        assert found.hops[-1].head.vertex == b
        for one, other in zip(found.hops, found.hops[1:], strict=False):
            assert one.head.vertex == other.tail.vertex
        assert found.latency_s == sum(hop.link.latency_s for hop in found.hops)

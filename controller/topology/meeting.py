"""Where the ways of several devices meet in a switch that adds up, or multiplies, what passes it.

NVSwitches of an HGX board and switches of an aggregation network do so: a reduction takes each uplink once and the link
down once, where a ring would send the same bytes over and over. The switch is the first one, seen from the first
device, that lies on the route from that device to each of the others and declares what is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.topology.graph import routes_of
from controller.topology.schema import Hop, Topology


@dataclass(frozen=True, slots=True)
class Meeting:
    """A switch and the way to it from every device.

    Attributes:
        switch: its name.
        up: the hops from each device to the switch; the way down takes the same links.
        rate_bytes_per_s: what the slowest switch that adds up or multiplies does in one stream [bytes/s].
    """

    switch: str
    up: tuple[tuple[Hop, ...], ...]
    rate_bytes_per_s: float


def meeting_of(
    topology: Topology, devices: Sequence[str], dtype: str = "", senders: int = 1, receivers: int = 1
) -> Meeting | str:
    """The switch in which a reduction or a multicast of `devices` happens, or why there is none.

    Args:
        topology: the cluster.
        devices: who takes part, each once, at least two.
        dtype: element type that is added up; "" where nothing is.
        senders: how many of them send, from the first on.
        receivers: how many receive, up to the last.

    Raises:
        NoRoute: two of them that no link joins.
    """
    if len(devices) < 2:
        return f"{', '.join(devices)} is alone; a reduction in the network takes at least two devices"
    routes = routes_of(topology)
    ways = [routes.route(devices[0], other).hops for other in devices[1:]]
    common = [
        hop.head.vertex
        for hop in ways[0][:-1]
        if all(hop.head.vertex in [each.head.vertex for each in way] for way in ways[1:])
    ]
    if not common:
        return f"no switch is between all of {', '.join(devices)}"
    refusals: list[str] = []
    for switch in common:
        up = [_until(ways[0], switch)]
        up += [_until(routes.route(other, devices[0]).hops, switch) for other in devices[1:]]
        adds = _joints(up[:senders], switch) if dtype else ()
        copies = _joints(up[len(up) - receivers :], switch) if receivers > 1 else ()
        complaint = _complaint(topology, adds, copies, dtype)
        if not complaint:
            rates = [topology.abilities[name].rate_bytes_per_s for name in (*adds, *copies)]
            return Meeting(switch, tuple(up), min(rates, default=float("inf")))
        refusals.append(complaint)
    return "; ".join(refusals)


def order_of(sources: Sequence[str], destinations: Sequence[str]) -> list[str]:
    """Every device once: those that only send, those that do both, those that only receive."""
    both = [device for device in destinations if device in sources]
    return [
        *(device for device in sources if device not in both),
        *both,
        *(device for device in destinations if device not in both),
    ]


def _until(hops: Sequence[Hop], switch: str) -> tuple[Hop, ...]:
    """The first hops of a way, up to `switch`."""
    for count, hop in enumerate(hops, 1):
        if hop.head.vertex == switch:
            return tuple(hops[:count])
    raise AssertionError("the switch lies on the way")


def _joints(ways: Sequence[tuple[Hop, ...]], switch: str) -> tuple[str, ...]:
    """Switches that several links lead into on the way up, `switch` always among them."""
    entering: dict[str, dict[str, None]] = {}
    for way in ways:
        for hop in way:
            entering.setdefault(hop.head.vertex, {})[hop.link.name] = None
    return tuple(name for name, links in entering.items() if name == switch or len(links) > 1)


def _complaint(topology: Topology, adds: Sequence[str], copies: Sequence[str], dtype: str) -> str:
    for name in adds:
        able = topology.abilities.get(name)
        if able is None or not able.types:
            return f"{name} of {topology.name} declares no reduction"
        if dtype not in able.types:
            return f"{name} of {topology.name} adds {', '.join(able.types)}, not {dtype}"
    for name in copies:
        able = topology.abilities.get(name)
        if able is None or not able.multicast:
            return f"{name} of {topology.name} declares no multicast"
    return ""

"""What a transfer loads that a switch adds up on its way, or sends out of several links at once.

A reduction takes what it reads of every source, its port and every link up once, however many sources; the sum takes
the links down and each destination once. A multicast is the same from one source. It flows at one rate, that of the
slowest of all that take part, as stores and loads of a multicast object do.

Simplification: every switch on the way stores nothing, so all parts flow at once; latency is that of the longest way up
and the longest way down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from controller.errors import BadPlan
from controller.fabric.drawn import drawn
from controller.fabric.parts import Parts, take
from controller.topology.meeting import meeting_of, order_of
from controller.topology.schema import Hop

Place = tuple[str, str]
"""Device and tier."""


def in_network(
    parts: Parts, sources: Sequence[Place], destinations: Sequence[Place], dtype: str
) -> tuple[dict[int, float], float, float]:
    """Weights by resource, the rate limit [bytes/s] and the latency [s].

    Args:
        parts: whose resources they are.
        sources, destinations: devices and tiers, each device at most once on either side.
        dtype: element type that is added up; "" for a multicast.

    Raises:
        BadPlan: no switch between them can do it; says which and why.
    """
    order = order_of([device for device, _ in sources], [device for device, _ in destinations])
    found = meeting_of(parts.topology, order, dtype if len(sources) > 1 else "", len(sources), len(destinations))
    if isinstance(found, str):
        raise BadPlan(
            f"{', '.join(device for device, _ in sources)} to {', '.join(device for device, _ in destinations)} needs "
            f"{'reduction' if len(sources) > 1 else 'multicast'} in the network: {found}; declare it at a switch "
            f"(reduction: true, types:, multicast: true, rate:), or reduce with a kernel"
        )
    up = dict(zip(order, found.up, strict=True))
    taken: dict[int, float] = {}
    ways_up = [_side(parts, taken, place, up[place[0]], 0) for place in sources]
    above, above_limit = drawn(hop for device, _ in sources for hop in up[device])
    ways_down = [_side(parts, taken, place, up[place[0]], 1) for place in destinations]
    below, below_limit = drawn(Hop(hop.link, not hop.forward) for device, _ in destinations for hop in up[device])
    for hop in (*above, *below):
        take(taken, parts.hop_side(hop))
    return taken, min(found.rate_bytes_per_s, above_limit, below_limit), max(ways_up) + max(ways_down)


def _side(parts: Parts, taken: dict[int, float], place: Place, way: Sequence[Hop], direction: int) -> float:
    """Takes tier and port of one device; the latency between it and the switch [s]."""
    device, tier = place
    port = way[0].tail.port
    tier_side, port_side = parts.sides(device, tier, port, direction)
    take(taken, tier_side)
    take(taken, port_side)
    spec = parts.topology.devices[device].spec
    own_s = spec.tiers[tier].write_latency_s if direction else spec.tiers[tier].read_latency_s
    return math.fsum([own_s, spec.ports[port].latency_s, *(hop.link.latency_s for hop in way)])

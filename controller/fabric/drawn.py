"""What the links of a route take of a flow: capacities that flows share, and limits that each flow has for itself.

A link may pass others, whose capacity it takes beside its own. A flow takes each capacity once, however many links of
its route pass it: a backbone is paid once by what enters and leaves it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from controller.topology.schema import Hop


def drawn(hops: Iterable[Hop]) -> tuple[tuple[Hop, ...], float]:
    """(capacities that are shared, each once and in the order of the route; limit of each flow alone [bytes/s])."""
    shared: dict[str, Hop] = {}
    limit = math.inf
    for hop in hops:
        for each in hop.drawn:
            if each.link.per_flow:
                limit = min(limit, each.bytes_per_s)
            else:
                shared.setdefault(each.resource, each)
    return tuple(shared.values()), limit

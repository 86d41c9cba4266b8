"""Max-min fair rates of a few flows: the progressive filling that every textbook has."""

from __future__ import annotations

import math
from collections.abc import Sequence

from node.memory.resources import Side


def max_min_rates(flows: Sequence[tuple[float, Side]]) -> list[float]:
    """The max-min fair rate of each flow, in order.

    All rates rise together; a flow stops at its own limit or when one of its resources is full. At the end every flow
    is at its limit or on a full resource where nobody is faster.

    Args:
        flows: (rate limit, loads) of each; a flow without loads has a finite limit.

    Source: Bertsekas and Gallager, Data Networks, 2nd edition, section 6.5.2.
    """
    rates = [0.0] * len(flows)
    spare = {resource.name: resource.capacity for _, loads in flows for resource, _ in loads}
    rising = list(range(len(flows)))
    level = 0.0
    while rising:
        weight_on: dict[str, float] = {}
        for index in rising:
            for resource, weight in flows[index][1]:
                weight_on[resource.name] = weight_on.get(resource.name, 0.0) + weight
        step = min(flows[index][0] - level for index in rising)
        for name, weight in weight_on.items():
            step = min(step, spare[name] / weight)
        step = max(step, 0.0)
        level += step
        for name, weight in weight_on.items():
            spare[name] -= weight * step
        full = {name for name, weight in weight_on.items() if spare[name] <= 1e-9 * weight * max(level, 1e-300)}
        stays = []
        for index in rising:
            rate_limit, loads = flows[index]
            if level >= rate_limit * (1 - 1e-12) or any(resource.name in full for resource, _ in loads):
                rates[index] = level
            else:
                stays.append(index)
        if len(stays) == len(rising):  # rounding left nobody at a limit: the level is right to 1e-9
            for index in stays:
                rates[index] = level
            break
        rising = stays
    return [rate if math.isfinite(rate) else 1e300 for rate in rates]

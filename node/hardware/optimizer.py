"""The optimizer step on a processor with caches, and on everything else.

Model: the step reads parameter, gradient and two moments and writes three of them back, so that it streams. Elements
that the caches still hold from the step before (`span` in the dims of the demand; `cache.held_share`) take their turn
through them: those in the private caches of the cores at `ELEMENT_CYCLES` of a core each, those in the last-level
cache at its rate. The rest takes its turn at memory. A thread meets held and missing lines one after the other, so
the times add up; arithmetic of a part hides behind its traffic.
Source: the parts are roofline (Williams, Waterman, Patterson, CACM 52(4), 2009). A root and a division of 16 floats
hold the divider of a core for 12 and 10 cycles (uops.info, VSQRTPS and VDIVPS on 512 bits, Skylake-X and Ice Lake);
a private cache gives 48 bytes a cycle (Intel 64 and IA-32 Architectures Optimization Reference Manual, Ice Lake).
Valid for: Adam on vectors of 512 bits, one tensor after the other, all cores of one socket.
Not modelled: threads on two sockets at once, several processes that share the cores, pages that move.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from node.hardware.cache import held_share
from node.hardware.device import ComputeSpec
from node.hardware.elementwise import streaming_time
from node.hardware.operation import Demand

DIVIDER_CYCLES: Final = (12.0 + 10.0) / 16.0
"""Cycles that a root and a division of one element hold a core."""
PRIVATE_BYTES_PER_CYCLE: Final = 48.0
"""What a private cache gives its core."""


def memory_share(demand: Demand, unit: ComputeSpec) -> float:
    """Share of the bytes of an optimizer step that cross the memory, because no cache holds them from the step before.

    Args:
        demand: of the step; without `span` in the dims everything comes from memory.
        unit: that runs it.
    """
    span, constants = float(demand.dims.get("span", 0.0)), unit.constants
    cache = constants.get("private", 0.0) + constants.get("l2", 0.0)
    core_hz = constants.get("sm_count", 0.0) * constants.get("clock", 0.0)
    if not (span and constants.get("private") and constants.get("l2_read") and core_hz):
        return 1.0
    return 1.0 - held_share(span, cache)


def optimizer_time(
    demand: Demand, unit: ComputeSpec, peak_flop_per_s: float, tier_s: Mapping[str, float]
) -> tuple[float, dict[str, float]]:
    """Time and bounds of an optimizer step; arguments and result as in `elementwise.streaming_time`.

    Without `span` in the dims, or without the constants of a cache hierarchy (`private`, `l2`, `l2_read`, `sm_count`,
    `clock`), everything comes from memory.
    """
    constants = unit.constants
    private, shared_rate = constants.get("private", 0.0), constants.get("l2_read", 0.0)
    core_hz = constants.get("sm_count", 0.0) * constants.get("clock", 0.0)
    total = float(sum(demand.reads) + sum(demand.writes))
    span = float(demand.dims.get("span", 0.0))
    if not (span and private and shared_rate and core_hz and total):
        return streaming_time(demand, unit, peak_flop_per_s, tier_s)
    near = held_share(span, private)
    held = 1.0 - memory_share(demand, unit)
    arithmetic_s = demand.flop / peak_flop_per_s
    cycles = DIVIDER_CYCLES * demand.dims["elements"] + total / PRIVATE_BYTES_PER_CYCLE
    efficiency = constants.get("memory_efficiency", 1.0)
    parts = {name: (1.0 - held) * seconds / efficiency for name, seconds in tier_s.items()}
    parts["cache"] = (held - near) * total / shared_rate
    parts["core"] = near * cycles / core_hz
    parts["compute"] = arithmetic_s
    memory_s = max((parts[name] for name in tier_s), default=0.0)
    return max(parts["core"] + parts["cache"] + memory_s, arithmetic_s), parts

"""Kernels that stream their operands once: element-wise, norms, softmax, gather, reductions, casts, the optimizer step.

Model: the longer of arithmetic at peak and traffic at `memory_efficiency` of each tier's bandwidth; the traffic counts
every operand once (the operation table says how many bytes). A kernel that comes back to what it has read says how many
bytes those are (``again`` of ``dims``) and how many others lie between (``span``): they come from memory as far as the
last-level cache has lost them (`cache.py`).
Source: roofline (Williams, Waterman, Patterson, CACM 52(4), 2009).
Valid for: operands much larger than what is in flight (about bandwidth x latency, 1 MB on a GPU).
Not modelled: operands that are still in a cache from the kernel before, strided access, ramp-up of small grids.
"""

from __future__ import annotations

from collections.abc import Mapping

from node.hardware.cache import hit_share
from node.hardware.device import ComputeSpec
from node.hardware.operation import Demand


def streaming_time(
    demand: Demand, unit: ComputeSpec, peak_flop_per_s: float, tier_s: Mapping[str, float]
) -> tuple[float, dict[str, float]]:
    """Time and bounds of a streaming kernel.

    Args:
        demand: family ``elementwise`` or ``optimizer``.
        unit: that runs it.
        peak_flop_per_s: in its dtype [FLOP/s].
        tier_s: how long each tier is busy at its declared bandwidth [s].

    Returns:
        The time alone [s], and the seconds of every bound by name.
    """
    efficiency = unit.constants.get("memory_efficiency", 1.0)
    again = demand.dims.get("again", 0.0)
    if again:
        constants = unit.constants
        again *= 1.0 - hit_share(demand.dims["span"], constants.get("l2", 0.0), constants.get("l2_parts", 1.0))
    passes = 1.0 + again / max(1.0, float(sum(demand.reads) + sum(demand.writes)))
    parts = {name: seconds * passes / efficiency for name, seconds in tier_s.items()}
    parts["compute"] = demand.flop / peak_flop_per_s
    return max(parts.values()), parts

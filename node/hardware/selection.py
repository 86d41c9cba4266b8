"""The k largest of every row.

Model (GPU): selection by digits. Each pass counts a digit of `DIGIT_BITS` bits of every element of a row and keeps the
digit in which the k-th largest lies; a last pass gathers what is larger. So a row is read once more than it has digits:
first from memory, then from the last-level cache while all rows fit into it. Model (processor, FPGA): one pass that
keeps the k largest so far.
Source: Alabi, Blanchard, Gordon, Steinbach, 'Fast k-selection algorithms for graphics processing units', ACM Journal of
Experimental Algorithmics 17, 2012; PyTorch counts 8 bits a pass (aten/src/ATen/native/cuda/TensorTopK.cu).
Valid for: rows of many thousand elements, k much smaller than a row.
Not modelled: the sort of the k at the end, rows too few to keep every unit busy.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final

from node.hardware.cache import hit_share
from node.hardware.device import ComputeSpec
from node.hardware.elementwise import streaming_time
from node.hardware.gemm import CACHE_BYTES
from node.hardware.operation import Demand

DIGIT_BITS: Final = 8
"""Bits that one pass counts."""


def selection_time(
    demand: Demand, unit: ComputeSpec, peak_flop_per_s: float, tier_s: Mapping[str, float]
) -> tuple[float, dict[str, float]]:
    """Time and bounds of a selection; arguments and result as in `elementwise.streaming_time`."""
    time_s, parts = streaming_time(demand, unit, peak_flop_per_s, tier_s)
    constants = unit.constants
    elements = demand.dims.get("elements", 0)
    # Processors say how large the caches of their cores are; units without a count are not told apart.
    if not constants.get("sm_count") or constants.get("private") or not elements:
        return time_s, parts
    row_bytes = float(demand.reads[0])
    again = ceil(8.0 * row_bytes / elements / DIGIT_BITS)
    held = hit_share(row_bytes, constants.get("l2", 0.0), constants.get("l2_parts", 1.0))
    cache_rate = constants.get("l2_read", constants["sm_count"] * CACHE_BYTES * constants.get("clock", 0.0))
    first_s = max((parts[name] for name in tier_s), default=0.0)
    if not cache_rate:
        held, cache_rate = 0.0, 1.0
    # A cache that is slower than memory is no use, and none is asked then.
    parts["again"] = again * ((1.0 - held) * first_s + held * min(first_s, row_bytes / cache_rate))
    parts["compute"] *= again + 1
    return max(first_s + parts["again"], parts["compute"]), parts

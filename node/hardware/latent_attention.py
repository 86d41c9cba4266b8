"""Decode attention over latents, which all heads of a sequence share.

Model: that of decode attention (`attention.py`) with `HEADS` query heads a block; every block of a sequence reads all
of its latents, the first from memory and the others from the last-level cache.
Source: FlashMLA (deepseek-ai, 2025) and DeepSeek-V2, arXiv 2405.04434, section 2.1.
Valid for: absorbed projections (`head_linear`) before and after.
Not modelled: kernels that split the latents over a pair of blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Final

from node.hardware.attention import decode_time
from node.hardware.device import ComputeSpec
from node.hardware.operation import Demand

HEADS: Final = 16
"""Query heads of a block: the fewest rows of a tensor-core tile that no published rank of these models goes below."""


def latent_decode_time(
    demand: Demand, unit: ComputeSpec, peak_flop_per_s: float, tier_s: Mapping[str, float]
) -> tuple[float, dict[str, float]]:
    """Time and bounds of decode attention over latents; arguments and result as in `elementwise.streaming_time`."""
    dims = demand.dims
    blocks = ceil(dims["heads"] / HEADS)
    latents = tuple(blocks * read for read in demand.reads[2:])
    as_groups = replace(demand, reads=(sum(demand.reads[:2]), *latents), dims={**dims, "kv_heads": blocks})
    return decode_time(as_groups, unit, peak_flop_per_s, tier_s)

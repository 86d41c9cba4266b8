"""Multi-head latent attention of one new token over cached latents, which are keys and values at once.

Model: a block of threads takes up to `BLOCK_HEADS` heads of one sequence, or a part of its tokens where there are
fewer blocks than units, and multiplies as many heads as one instruction has rows, whether it needs them or not. A
latent is read once for all heads of a block and from the last-level cache for the next block. Parts are written in
fp32 and joined by a second kernel. Streaming is bound by `decode_efficiency` of the tier, arithmetic by the rate of
attention over a prompt (`prefill_attention.py`), waves and floor are those of `decode_attention.py`.
Source: DeepSeek-V2 (arXiv 2405.04434), section 2.1; FlashMLA (github.com/deepseek-ai/FlashMLA): blocks of 64 heads,
parts in fp32, a kernel that combines them. No number is fitted to a table of latent attention.
Valid for: absorbed projections, bf16 latents, on a device with `sm_count`; without it, the roofline at
`latent_efficiency`.
Not modelled: page tables, latents in 8 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final

from node.hardware.decode_attention import (
    BLOCK_CYCLES,
    DECODE_EXPOSED_SHARE,
    DECODE_FLOOR_CYCLES,
    HEAD_CYCLES,
    waves_of,
)
from node.hardware.device import ComputeSpec
from node.hardware.operation import Demand
from node.hardware.prefill_attention import attention_rate

BLOCK_HEADS: Final = 64
"""Heads that a block multiplies at once."""
TOKEN_TILE: Final = 64
"""Tokens that it meets at once, the fewest of a part."""
JOIN_S: Final = 2.5e-6
"""Start of the kernel that joins parts: gap and least duration inside a graph on H100 (`launch.py`) [s]."""
_DEFAULT_CLOCK_HZ = 1.5e9


def latent_decode_time(
    demand: Demand, unit: ComputeSpec, peak_flop_per_s: float, tier_s: Mapping[str, float]
) -> tuple[float, dict[str, float]]:
    """Time and bounds of latent decode attention; arguments and result as in `elementwise.streaming_time`."""
    constants, dims = unit.constants, demand.dims
    efficiency = constants.get("decode_efficiency", constants.get("memory_efficiency", 1.0))
    parts = {name: seconds / efficiency for name, seconds in tier_s.items()}
    units = constants.get("sm_count", 0.0)
    tokens = int(dims.get("tokens", 0))
    if not units or not tokens:
        parts["compute"] = demand.flop / (peak_flop_per_s * constants.get("latent_efficiency", 1.0))
        return max(parts.values()), parts
    clock_hz = constants.get("clock", _DEFAULT_CLOCK_HZ)
    heads = dims["heads"]
    blocks = dims["batch"] * ceil(heads / BLOCK_HEADS)
    splits = max(1, min(int(units // blocks), tokens // TOKEN_TILE))
    score_flop = demand.flop / (dims["batch"] * heads * tokens)
    rate = attention_rate(constants, peak_flop_per_s, score_flop) / units
    part_tokens = ceil(tokens / splits / TOKEN_TILE) * TOKEN_TILE
    waves = waves_of(blocks * splits / units)
    cycles = BLOCK_CYCLES + HEAD_CYCLES * min(heads, BLOCK_HEADS)
    block_s = BLOCK_HEADS * part_tokens * score_flop / rate
    ends_s = waves * cycles / clock_hz
    compute_s = ends_s + waves * block_s
    # Parts go out and come back in fp32, whether one block or many made them.
    parted = 2.0 * 4.0 * dims["batch"] * heads * dims["rank"] / (sum(demand.reads) + sum(demand.writes))
    stream_s = max((parts[name] for name in tier_s), default=0.0) * (1.0 + parted)
    parts["compute"] = compute_s
    parts["floor"] = floor_s = DECODE_FLOOR_CYCLES / clock_hz + JOIN_S
    # Products and loads overlap for as long as a block lasts; its ends do not.
    return floor_s + max(compute_s, stream_s) + DECODE_EXPOSED_SHARE * min(ends_s, stream_s), parts

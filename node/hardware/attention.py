"""Fused attention: over a prompt, and of one new token over cached keys and values.

Model (prefill): query tiles of one head go to units one by one; each meets the key tiles that it may see, at
`prefill_efficiency` of the peak, after a fixed number of cycles. Operands move once, partly hidden behind arithmetic.
Model (decode): keys and values move once at `decode_efficiency` of their tier's bandwidth. Each (sequence, KV head)
is a task whose group of query heads is padded to the rows of a matrix unit; tasks come in waves. Arithmetic is not
hidden, as a block's scores must be there before its values are used.
Both have a floor: the kernels before and after (positions, cache update, merge of splits) that libraries launch with
it.
Source: FlashAttention-2 (Dao, arXiv 2307.08691) for one pass over K and V without the score matrix; Flash-Decoding
(Dao et al., 2023) for splitting tokens over units. The numbers below are fitted, by random search on the median
error, to NVIDIA aiconfigurator's attention tables of H100 SXM (bf16, TensorRT-LLM 1.3, Apache-2.0): 4 % median error
for prefill, 15 % for decode (7 % at 16 Ki tokens and above; groups of 64 query heads, which fall to another kernel
there, are far off).
Valid for: fused kernels of vendor libraries, head dimensions 64 to 256, on a device with `sm_count`; without it (an
engine in a drive, a CPU), the plain roofline with each operand once.
Not modelled: the choice among kernels, page tables, L2 hits of short contexts.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final

from node.hardware.device import ComputeSpec
from node.hardware.operation import Demand

QUERY_TILE: Final = 48
"""Fitted: queries of one tile in prefill."""
KEY_TILE: Final = 96
"""Fitted: keys that a query tile meets at once."""
QUERY_TILE_CYCLES: Final = 3880.0
"""Fitted: clock cycles of a query tile beyond its arithmetic."""
PREFILL_FLOOR_CYCLES: Final = 18600.0
"""Fitted: clock cycles of prefill attention beyond launch, arithmetic and traffic."""
PREFILL_EXPOSED_SHARE: Final = 0.54
"""Fitted: share of the shorter of arithmetic and traffic that is not hidden behind the longer."""

TASK_ROWS: Final = 16
"""Rows of a matrix unit that the query heads of a group are padded to."""
TASK_TOKENS: Final = 128
"""Tokens that a decode task takes at once."""
TASK_CYCLES: Final = 3386.0
"""Fitted: clock cycles of a wave of decode tasks beyond arithmetic."""
DECODE_FLOOR_CYCLES: Final = 10400.0
"""Fitted: clock cycles of decode attention beyond launch, arithmetic and traffic."""

_DEFAULT_CLOCK_HZ = 1.5e9  # only scales the fixed cycles above, for sheets that give no clock


def prefill_time(
    demand: Demand, unit: ComputeSpec, peak_flop_per_s: float, tier_s: Mapping[str, float]
) -> tuple[float, dict[str, float]]:
    """Time and bounds of attention over a prompt; arguments and result as in `elementwise.streaming_time`."""
    constants = unit.constants
    memory = constants.get("memory_efficiency", 1.0)
    rate = peak_flop_per_s * constants.get("prefill_efficiency", 1.0)
    parts = {name: seconds / memory for name, seconds in tier_s.items()}
    unit_count = constants.get("sm_count", 0.0)
    tokens = demand.dims.get("tokens", 0)
    if not unit_count or not tokens:
        parts["compute"] = demand.flop / rate
        return max(parts.values()), parts
    clock_hz = constants.get("clock", _DEFAULT_CLOCK_HZ)
    heads = demand.dims["batch"] * demand.dims["heads"]
    query_tiles = ceil(tokens / QUERY_TILE)
    # Pairs of tiles of one head: those that hold a visible pair, which is more than visible pairs / tile area.
    pairs = max(query_tiles, demand.dims["pairs"] / (QUERY_TILE * KEY_TILE) + query_tiles / 2)
    pair_flop = 4.0 * QUERY_TILE * KEY_TILE * demand.dims["head_dim"]
    longest_s = ceil(tokens / KEY_TILE) * pair_flop * unit_count / rate
    compute_s = max(heads * pairs * pair_flop / rate, longest_s)
    compute_s += heads * query_tiles / unit_count * QUERY_TILE_CYCLES / clock_hz
    compute_s = max(compute_s, demand.flop / rate)
    traffic_s = max(parts.values(), default=0.0)
    parts["compute"] = compute_s
    parts["floor"] = floor_s = PREFILL_FLOOR_CYCLES / clock_hz
    return floor_s + max(compute_s, traffic_s) + PREFILL_EXPOSED_SHARE * min(compute_s, traffic_s), parts


def decode_time(
    demand: Demand, unit: ComputeSpec, peak_flop_per_s: float, tier_s: Mapping[str, float]
) -> tuple[float, dict[str, float]]:
    """Time and bounds of decode attention; arguments and result as in `elementwise.streaming_time`."""
    constants = unit.constants
    efficiency = constants.get("decode_efficiency", constants.get("memory_efficiency", 1.0))
    parts = {name: seconds / efficiency for name, seconds in tier_s.items()}
    unit_count = constants.get("sm_count", 0.0)
    tokens = demand.dims.get("tokens", 0)
    if not unit_count or not tokens:
        parts["compute"] = demand.flop / peak_flop_per_s
        return max(parts.values()), parts
    clock_hz = constants.get("clock", _DEFAULT_CLOCK_HZ)
    dims = demand.dims
    group = dims["heads"] / dims["kv_heads"]
    tasks = dims["batch"] * dims["kv_heads"] * ceil(group / TASK_ROWS)
    block_flop = 4.0 * TASK_ROWS * TASK_TOKENS * dims["head_dim"]
    rate = peak_flop_per_s * constants.get("prefill_efficiency", 1.0)
    compute_s = tasks * ceil(tokens / TASK_TOKENS) * block_flop / rate
    compute_s += ceil(tasks / unit_count) * TASK_CYCLES / clock_hz
    parts["compute"] = compute_s
    parts["floor"] = floor_s = DECODE_FLOOR_CYCLES / clock_hz
    return floor_s + compute_s + max((parts[name] for name in tier_s), default=0.0), parts


def decode_ranges(demand: Demand) -> tuple[int, ...]:
    """Contiguous ranges of each input of decode attention: one for q, one a sequence and KV head for K and V."""
    ranges = max(1, int(demand.dims.get("batch", 1) * demand.dims.get("kv_heads", 1)))
    return (1, *(ranges for _ in demand.reads[1:]))

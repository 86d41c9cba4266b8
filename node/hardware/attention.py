"""Fused attention: over a prompt, and of one new token over cached keys and values.

Model (prefill): query tiles of one head go to units one by one; each meets the key tiles that it may see, at
`prefill_efficiency` of the peak, after a fixed number of cycles. Operands move once, partly hidden behind arithmetic.
Model (decode): a block of threads takes one sequence and one group of heads, or a part of its tokens where there are
fewer blocks than units. Blocks come in waves of a fixed length; a block streams keys and values no faster than one
block can ask for them (Little's law), all blocks together no faster than `decode_efficiency` of their tier. The
shorter of waves and streaming hides behind the longer but for a share, and parts of a split are merged by another
kernel. Up to 32 query heads of one KV head share a block and read it once; single heads, and larger groups, run one
block for every query head.
Both have a floor: the kernels before and after (positions, cache update, merge of splits) that libraries launch with
it.
Source: FlashAttention-2 (Dao, arXiv 2307.08691) for one pass over K and V without the score matrix; Flash-Decoding
(Dao et al., 2023) for splitting tokens over units; Little's law (Operations Research 9(3), 1961). The numbers below are
fitted, by random search on the error, to NVIDIA aiconfigurator's attention tables of H100 SXM (bf16, TensorRT-LLM 1.3,
Apache-2.0), on the half of the shapes that a hash of the shape chose: 5 % median error for prefill and 6 % for decode
on the other half.
Valid for: fused kernels of vendor libraries, head dimensions 64 to 256, on a device with `sm_count`; without it (an
engine in a drive, a CPU), the plain roofline with each operand once.
Not modelled: the choice among kernels beyond that, page tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final

from node.hardware.cache import cached_share
from node.hardware.device import ComputeSpec
from node.hardware.operation import Demand

QUERY_TILE: Final = 48
"""Fitted: queries of one tile in prefill."""
KEY_TILE: Final = 96
"""Fitted: keys that a query tile meets at once."""
QUERY_TILE_CYCLES: Final = 3770.0
"""Fitted: clock cycles of a query tile beyond its arithmetic."""
PREFILL_FLOOR_CYCLES: Final = 17900.0
"""Fitted: clock cycles of prefill attention beyond launch, arithmetic and traffic."""
PREFILL_EXPOSED_SHARE: Final = 0.85
"""Fitted: share of the shorter of arithmetic and traffic that is not hidden behind the longer."""

LARGEST_GROUP: Final = 32
"""Most query heads of one KV head that share a block."""
SPLITS: Final = (1, 2, 4, 8, 16, 32, 64)
"""Into how many parts the tokens of a sequence may be split."""
LEAST_SPLIT_TOKENS: Final = 36
"""Fitted: fewest tokens of a part."""
MOST_SPLIT_WAVES: Final = 4
"""Fitted: waves that split sequences fill at most."""
BLOCK_CYCLES: Final = 7610.0
"""Fitted: a wave of blocks of grouped heads, beyond streaming [cycles]."""
HEAD_CYCLES: Final = 136.0
"""Fitted: what each query head of the group adds to it [cycles]."""
SINGLE_CYCLES: Final = 2100.0
"""Fitted: a wave of blocks of one query head, beyond streaming [cycles]."""
SINGLE_TOKENS_CYCLES: Final = 910.0
"""Fitted: what a single head's first `SINGLE_TOKENS` tokens add to it [cycles]."""
SINGLE_TOKENS: Final = 16
"""Tokens that a block of one query head takes at once."""
LONE_SHARE: Final = 0.6
"""Fitted: share of a wave's length that is left when a single block runs."""
BLOCK_BYTES: Final = 9.2
"""Fitted: bytes that one block of grouped heads can ask for [bytes/cycle]."""
SINGLE_BYTES: Final = 6.8
"""Fitted: bytes that one block of a single head can ask for [bytes/cycle]."""
RESIDENT_BLOCKS: Final = 4
"""Fitted: blocks that stream side by side on one unit."""
WHOLE_WAVES: Final = 8
"""Fitted: beyond so many waves, blocks of different age even out and a wave need not be whole."""
DECODE_EXPOSED_SHARE: Final = 0.27
"""Fitted: share of the shorter of waves and streaming that is not hidden behind the longer."""
MERGE_CYCLES: Final = 8030.0
"""Fitted: merging the parts of split sequences [cycles]."""
DECODE_FLOOR_CYCLES: Final = 6390.0
"""Fitted: clock cycles of decode attention beyond launch, waves and streaming."""

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
    longest_s = ceil(demand.dims.get("keys", tokens) / KEY_TILE) * pair_flop * unit_count / rate
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
    missed = 1.0 - cached_share(demand, constants) if "span" in demand.dims else 1.0
    parts = {name: seconds * missed / efficiency for name, seconds in tier_s.items()}
    unit_count = constants.get("sm_count", 0.0)
    dims = demand.dims
    tokens = dims.get("tokens", 0)
    if not unit_count or not tokens:
        parts["compute"] = demand.flop / peak_flop_per_s
        return max(parts.values()), parts
    clock_hz = constants.get("clock", _DEFAULT_CLOCK_HZ)
    batch, heads, kv_heads = dims["batch"], dims["heads"], dims["kv_heads"]
    group = heads / kv_heads
    single = group == 1 or group > LARGEST_GROUP
    blocks = batch * (heads if single else kv_heads)
    token_cycles = _token_bytes(demand, tokens) / (SINGLE_BYTES if single else BLOCK_BYTES)
    streamed_s = max((parts[name] for name in tier_s), default=0.0)
    best_s, best_wave_s = float("inf"), 0.0
    for split in SPLITS:
        count = blocks * split
        if split > 1 and (tokens < LEAST_SPLIT_TOKENS * split or count > MOST_SPLIT_WAVES * unit_count):
            break
        part_tokens = ceil(tokens / split)
        if single:
            cycles = SINGLE_CYCLES + SINGLE_TOKENS_CYCLES * min(1.0, part_tokens / SINGLE_TOKENS)
        else:
            cycles = BLOCK_CYCLES + HEAD_CYCLES * group
        wave_s = _waves(count / unit_count) * cycles / clock_hz
        asked_s = part_tokens * token_cycles * ceil(count / (RESIDENT_BLOCKS * unit_count)) / clock_hz
        stream_s = max(streamed_s, asked_s)
        seconds = max(wave_s, stream_s) + DECODE_EXPOSED_SHARE * min(wave_s, stream_s)
        if split > 1:
            seconds += MERGE_CYCLES / clock_hz
        if seconds < best_s:
            best_s, best_wave_s = seconds, wave_s
    parts["compute"] = best_wave_s
    parts["floor"] = floor_s = DECODE_FLOOR_CYCLES / clock_hz
    # Groups beyond what shares a block read K and V from the cache again; arithmetic is never faster than the peak.
    return floor_s + max(best_s, demand.flop / peak_flop_per_s), parts


def _waves(full: float) -> float:
    """Lengths of a wave that blocks take which fill `full` waves."""
    if full <= 1.0:
        return LONE_SHARE + (1.0 - LONE_SHARE) * full
    return full if full > WHOLE_WAVES else float(ceil(full))


def _token_bytes(demand: Demand, tokens: float) -> float:
    """Bytes of K and V that one block reads for a token [bytes]."""
    return sum(demand.reads[1:]) / (tokens * demand.dims["batch"] * demand.dims["kv_heads"])


def decode_ranges(demand: Demand) -> tuple[int, ...]:
    """Contiguous ranges of each input of decode attention: one for q, one a sequence and KV head for K and V."""
    ranges = max(1, int(demand.dims.get("batch", 1) * demand.dims.get("kv_heads", 1)))
    return (1, *(ranges for _ in demand.reads[1:]))

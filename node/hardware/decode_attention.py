"""Fused attention of one new token over cached keys and values.

Model: a block of threads takes one sequence and one group of heads, or a part of its tokens where there are fewer
blocks than units. Blocks come in waves of a fixed length; a block streams keys and values no faster than one block
can ask for them (Little's law), all blocks together no faster than `decode_efficiency` of their tier. The shorter of
waves and streaming hides behind the longer but for a share, and parts of a split are merged by another kernel. Query
heads of one KV head share a block and read it once, up to `BLOCK_HEADS` of them; a head without company has a block
of its own. A floor stands for the kernels before and after (positions, cache update, merge of splits) that libraries
launch with it.

Generations: blocks of kernels that start early and stay (Blackwell) begin to load while the block before them ends,
which leaves a third of a wave's length. Units without bulk copies multiply and load with the same threads, and a group
that multiplies reaches `SHARED_SHARE` of the bandwidth.
Libraries: a sheet may say that its kernels need another share of these cycles a block (`decode_block`), and that the
library brings the query heads of one KV head together, and their results back, by two copies of their own
(`decode_swap`), which are views of what lies there for one sequence or one KV head.
Source (libraries): FlashAttention-2, `seqlenq_ngroups_swapped` in csrc/flash_attn/flash_api.cpp, which vLLM calls.
Source: Flash-Decoding (Dao et al., 2023) for splitting tokens over units; Little's law (Operations Research 9(3),
1961). The numbers marked as fitted: random search on the error over half of the shapes of NVIDIA aiconfigurator's
decode attention table of H100 SXM (bf16, TensorRT-LLM 1.3, Apache-2.0), the half chosen by a hash of the shape.
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

LARGEST_GROUP: Final = 32
"""Most query heads of one KV head that share a block before Blackwell; larger groups run head by head. A limit of the
kernels of TensorRT-LLM, whose tables show it."""
BLOCK_HEADS: Final = 128
"""Most query heads that share one on Blackwell: rows of its matrix instruction."""
SPLITS: Final = tuple(2**power for power in range(11))
"""Into how many parts the tokens of a sequence may be split."""
EARLY_BLOCK_SHARE: Final = 1.0 / 3.0
"""Measured: what early starts leave of `BLOCK_CYCLES`: 2,400 to 2,600 cycles in B200's rows of up to 16 tokens."""
SHARED_SHARE: Final = 0.84
"""Measured: bandwidth of a group without bulk copies over that of single heads: 0.89 on L40S, 0.80 on A100."""
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

SWAP_S: Final = 2 * 2.5e-6
"""Start of two copies: gap and least duration inside a graph on H100 (`launch.py`) [s at 1.83 GHz]."""
SWAP_CLOCK_HZ: Final = 1.83e9

_DEFAULT_CLOCK_HZ = 1.5e9  # only scales the fixed cycles above, for sheets that give no clock


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
    early = constants.get("early_start", 0.0) > 0
    single = group == 1 or (group > LARGEST_GROUP and not early)
    blocks = batch * (heads if single else kv_heads * ceil(group / BLOCK_HEADS))
    if not single and not constants.get("bulk_copies"):
        parts = {name: seconds / SHARED_SHARE for name, seconds in parts.items()}
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
            cycles = BLOCK_CYCLES + HEAD_CYCLES * min(group, BLOCK_HEADS)
        waves = waves_of(count / unit_count)
        if early and not single and waves > 1.0:
            # The blocks of later waves load while those before them end.
            waves -= (waves - 1.0) * (1.0 - EARLY_BLOCK_SHARE) * BLOCK_CYCLES / cycles
        wave_s = waves * cycles * (1.0 if single else constants.get("decode_block", 1.0)) / clock_hz
        asked_s = part_tokens * token_cycles * ceil(count / (RESIDENT_BLOCKS * unit_count)) / clock_hz
        stream_s = max(streamed_s, asked_s)
        seconds = max(wave_s, stream_s) + DECODE_EXPOSED_SHARE * min(wave_s, stream_s)
        if split > 1:
            seconds += MERGE_CYCLES * (EARLY_BLOCK_SHARE if early else 1.0) / clock_hz
        if seconds < best_s:
            best_s, best_wave_s = seconds, wave_s
    parts["compute"] = best_wave_s
    floor_s = DECODE_FLOOR_CYCLES / clock_hz
    if constants.get("decode_swap") and not single and batch > 1 and kv_heads > 1:
        # Two copies, each of which reads and writes as many bytes as the queries have.
        moved_s = streamed_s * efficiency * 4.0 * demand.reads[0] / max(1.0, float(sum(demand.reads)))
        floor_s += SWAP_S * (0.5 + 0.5 * SWAP_CLOCK_HZ / clock_hz) + moved_s
    parts["floor"] = floor_s
    # Groups beyond what shares a block read K and V from the cache again; arithmetic is never faster than the peak.
    return floor_s + max(best_s, demand.flop / peak_flop_per_s), parts


def waves_of(full: float) -> float:
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

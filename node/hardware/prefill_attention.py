"""Fused attention over a prompt.

Model: tiles of `QUERY_TILE` queries of one head go to units one by one; each meets the key tiles that it may see. The
last rows of a prompt fill up what one instruction multiplies (`matrix_rows`), and the tile of the last queries, which
sees most keys, is the critical path of a prompt of few heads. Arithmetic runs at `prefill_efficiency` of the peak,
or, on a device that nobody measured, at what long products sustain there (`power.py`) times the share that the two
products have of the time beside the softmax: a score costs as much as `SOFTMAX_FLOP` of products, so that wide heads
do better than narrow ones. Every tile has ends of a fixed number of cycles; operands move once, partly hidden behind
arithmetic, and what a caller says to be in the last-level cache is read from there (`cache.py`). A floor stands for
the small kernels that libraries launch with it (lengths, schedule, addresses). A caller may say that a kernel of its
own adds positions and writes the cache before (`prepare`, its bytes); it streams no faster than its units ask
(`PREPARE_BYTES`).
Source: FlashAttention-2 (Dao, arXiv 2307.08691) for one pass over K and V without the score matrix; FlashAttention-3
(Shah et al., arXiv 2407.08608) for softmax that overlaps with products on Hopper, which earlier units cannot; NVIDIA
PTX ISA (rows of wgmma, tcgen05.mma, mma). Numbers marked as fitted: random search on the error over half of the
shapes of NVIDIA aiconfigurator's prefill attention table of H100 SXM (bf16, TensorRT-LLM 1.3, Apache-2.0), the half
chosen by a hash of the shape.
Valid for: fused kernels of vendor libraries, head dimensions 64 to 256, on a device with `sm_count`; without it (an
engine in a drive, a CPU), the plain roofline with each operand once.
Not modelled: the choice among kernels, page tables, waves of equal tiles that are not full.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final

from node.hardware.cache import cached_share
from node.hardware.device import ComputeSpec
from node.hardware.operation import Demand

QUERY_TILE: Final = 128
"""Queries of one tile."""
KEY_TILE: Final = 128
"""Keys that a tile of queries meets at once."""
HEAD_FLOP: Final = 4.0 * 128
"""Products of a score with heads of 128, which `prefill_efficiency` is about [FLOP]."""
BULK_ROWS, ROWS = 64, 16
"""Rows of an instruction where a sheet has no `matrix_rows`: wgmma of Hopper, mma of earlier units."""
TILE_CYCLES: Final = 3660.0
"""Fitted: a tile of queries beyond its arithmetic [cycles]."""
BULK_SOFTMAX_FLOP: Final = 204.0
"""Fitted: a score of softmax in products, with bulk copies [FLOP]: heads of 128 reach 0.715 of long products."""
SOFTMAX_FLOP: Final = 327.0
"""Measured: the same without them [FLOP]: heads of 128 reach 0.61 of long products in the longest prompts on A100."""
BULK_FLOOR_S, FLOOR_S = 5.8e-6, 3.0e-6
"""Fitted, and read off the shortest prompts on A100: small kernels, with bulk copies and without [s at 1.83 GHz]."""
EXPOSED_SHARE: Final = 0.48
"""Fitted: share of the shorter of arithmetic and traffic that is not hidden behind the longer."""
PREPARE_BYTES: Final = 11.7
"""Fitted: what a unit asks for in the kernel that adds positions [bytes/cycle]."""
PREPARE_S: Final = 2.5e-6
"""Start of that kernel: gap and least duration inside a graph on H100 (`launch.py`) [s at 1.83 GHz]."""
_FLOOR_CLOCK_HZ = 1.83e9
_DEFAULT_CLOCK_HZ = 1.5e9  # only scales the fixed cycles above, for sheets that give no clock


def attention_rate(constants: Mapping[str, float], peak_flop_per_s: float, score_flop: float) -> float:
    """What the two products of attention reach in long prompts [FLOP/s].

    Args:
        constants: of the compute unit.
        peak_flop_per_s: in the type of the operands [FLOP/s].
        score_flop: of both products, for one query and one key [FLOP].
    """
    known = constants.get("prefill_efficiency", 0.0)
    softmax = BULK_SOFTMAX_FLOP if constants.get("bulk_copies") else SOFTMAX_FLOP
    if known:
        # The sheet's share is that of heads of 128.
        known *= score_flop * (HEAD_FLOP + softmax) / (HEAD_FLOP * (score_flop + softmax))
        return peak_flop_per_s * min(1.0, known)
    held = constants.get("sustained_efficiency", constants.get("gemm_efficiency", 1.0))
    return peak_flop_per_s * held * score_flop / (score_flop + softmax)


def prefill_time(
    demand: Demand, unit: ComputeSpec, peak_flop_per_s: float, tier_s: Mapping[str, float]
) -> tuple[float, dict[str, float]]:
    """Time and bounds of attention over a prompt; arguments and result as in `elementwise.streaming_time`."""
    constants, dims = unit.constants, demand.dims
    memory = constants.get("memory_efficiency", 1.0)
    tokens = int(dims.get("tokens", 0))
    units = constants.get("sm_count", 0.0)
    if not units or not tokens:
        parts = {name: seconds / memory for name, seconds in tier_s.items()}
        parts["compute"] = demand.flop / (peak_flop_per_s * constants.get("prefill_efficiency", 1.0))
        return max(parts.values()), parts
    missed = 1.0 - cached_share(demand, constants) if "span" in dims else 1.0
    parts = {name: seconds * missed / memory for name, seconds in tier_s.items()}
    clock_hz = constants.get("clock", _DEFAULT_CLOCK_HZ)
    bulk = constants.get("bulk_copies", 0.0) > 0
    heads = dims["batch"] * dims["heads"]
    score_flop = demand.flop / (heads * dims["pairs"]) if dims["pairs"] else 4.0 * dims["head_dim"]
    rate = attention_rate(constants, peak_flop_per_s, score_flop)
    scores, longest = _padded_scores(dims, int(constants.get("matrix_rows", BULK_ROWS if bulk else ROWS)))
    tiles = heads * ceil(tokens / QUERY_TILE)
    ends_s = TILE_CYCLES / clock_hz
    compute_s = max(
        heads * scores * score_flop / rate + tiles / units * ends_s, longest * score_flop * units / rate + ends_s
    )
    traffic_s = max(parts.values(), default=0.0)
    floor_s = BULK_FLOOR_S if bulk else FLOOR_S
    if "prepare" in dims:
        floor_s += PREPARE_S
    floor_s *= 0.5 + 0.5 * _FLOOR_CLOCK_HZ / clock_hz
    if "prepare" in dims:
        moved = float(sum(demand.reads) + sum(demand.writes))
        alone_s = max(tier_s.values(), default=0.0) * missed / memory / moved
        floor_s += dims["prepare"] * max(alone_s, 1.0 / (units * clock_hz * PREPARE_BYTES))
    parts["compute"], parts["floor"] = compute_s, floor_s
    return floor_s + max(compute_s, traffic_s) + EXPOSED_SHARE * min(compute_s, traffic_s), parts


def _padded_scores(dims: Mapping[str, float], matrix_rows: int) -> tuple[float, float]:
    """Pairs of query and key that one head computes, padded to tiles, and those of its longest tile."""
    tokens = int(dims["tokens"])
    keys = dims.get("keys", tokens + dims.get("cached", 0.0))
    rows = ceil(tokens / matrix_rows) * matrix_rows
    if not dims.get("causal"):
        seen = ceil(keys / KEY_TILE) * KEY_TILE
        return rows * seen, min(rows, QUERY_TILE) * seen
    # On the diagonal half of every tile is computed in vain.
    scores = max(rows * KEY_TILE, dims["pairs"] * rows / tokens + rows * KEY_TILE / 2.0)
    window = dims.get("window", 0.0)
    longest = min(keys, window + QUERY_TILE) if window else keys
    return scores, min(rows, QUERY_TILE) * ceil(longest / KEY_TILE) * KEY_TILE

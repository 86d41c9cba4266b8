"""Matrix products: tiles dealt to units in waves, beside memory traffic.

Model: an output of m x n is cut into tiles of a few shapes; each of `sm_count` units works on one tile at a time, so
the product takes a whole number of waves, and a tile that sticks out costs as much as a full one. Small tiles feed
the matrix unit worse (less reuse per byte), every tile pays filling and draining its pipeline, and k may be split
over units at the price of a reduction. The library's choice is the fastest. Reading is slower while few units ask for
data. The shorter of arithmetic and traffic is hidden behind the longer but for a share. Products that last longer
than the power governor needs run at `sustained_efficiency` instead of boost.
Source: NVIDIA, 'Matrix Multiplication Background User's Guide' (tile and wave quantisation); the six numbers below are
fitted, by random search on the median error, to 2,000 rows of NVIDIA aiconfigurator's GEMM table of H100 SXM (bf16,
TensorRT-LLM 1.3, Apache-2.0): 5 % median error on 4,000 other rows, 11 % on A100 with its datasheet.
Valid for: dense products by a vendor library with weights in device memory, on a device with `sm_count`; without it,
the plain roofline at `gemm_efficiency`.
Not modelled: stream-k, alignment of n and k to 8 elements, operands that stay in a large last-level cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import exp
from typing import Final

from node.hardware.device import ComputeSpec
from node.hardware.operation import Demand

TILES: Final[tuple[tuple[int, int], ...]] = (
    (256, 128), (128, 256), (128, 128), (128, 64), (64, 128), (64, 64), (64, 32), (32, 64), (64, 16), (16, 64),
)  # fmt: skip
"""Rows x columns of the tiles that a library chooses among."""
SPLITS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 32)
"""Into how many parts k may be split."""
K_STEP: Final = 64
"""Inner length of one step of a tile's main loop."""

REUSE_HALF: Final = 3.24
"""Fitted: products per loaded element at which a tile would reach half of the peak."""
TILE_CYCLES: Final = 1066.0
"""Fitted: clock cycles to fill and drain a tile's pipeline."""
SPLIT_CYCLES: Final = 4465.0
"""Fitted: clock cycles of the second pass that adds the parts of a split product."""
CACHE_OVER_MEMORY: Final = 6.1
"""Fitted: rate at which parts of a split product move through the last-level cache, in device memory bandwidths."""
EXPOSED_SHARE: Final = 0.27
"""Fitted: share of the shorter of arithmetic and traffic that is not hidden behind the longer."""
GOVERNOR_S: Final = 0.7e-3
"""Fitted: how long a product runs at boost before the power governor steps in [s]."""

_LARGEST_REUSE = max(rows * columns / (rows + columns) for rows, columns in TILES)
_DEFAULT_CLOCK_HZ = 1.5e9  # only scales the fixed cycles above, for sheets that give no clock


def gemm_time(
    demand: Demand, unit: ComputeSpec, peak_flop_per_s: float, tier_s: Mapping[str, float]
) -> tuple[float, dict[str, float]]:
    """Time and bounds of a matrix product; arguments and result as in `elementwise.streaming_time`."""
    constants = unit.constants
    efficiency = constants.get("gemm_efficiency", 1.0)
    memory = constants.get("memory_efficiency", 1.0)
    parts = {name: seconds / memory for name, seconds in tier_s.items()}
    slowest_s = max(parts.values(), default=0.0)
    unit_count = int(constants.get("sm_count", 0))
    m, n, k = (int(demand.dims[name]) for name in ("m", "n", "k"))
    rate = peak_flop_per_s * efficiency
    if not (unit_count and m and n and k):
        parts["compute"] = demand.flop / rate
        return max(slowest_s, parts["compute"]), parts
    clock_hz = constants.get("clock", _DEFAULT_CLOCK_HZ)
    # Bandwidth of the tiers as seen by this product; what a split sends through the cache is a multiple of it.
    moved = float(sum(demand.reads) + sum(demand.writes))
    cache_bytes_per_s = CACHE_OVER_MEMORY * moved / slowest_s if slowest_s else 0.0
    time_s, parts["compute"] = tiled_time(m, n, k, rate, unit_count, clock_hz, slowest_s, cache_bytes_per_s)
    sustained_s = demand.flop / (peak_flop_per_s * constants.get("sustained_efficiency", efficiency))
    held_s = sustained_s * (1.0 - exp(-sustained_s / GOVERNOR_S))
    if held_s > time_s:
        parts["power"] = time_s = held_s
    return time_s, parts


@lru_cache(maxsize=65536)
def tiled_time(
    m: int,
    n: int,
    k: int,
    flop_per_s: float,
    unit_count: int,
    clock_hz: float,
    memory_s: float,
    cache_bytes_per_s: float,
) -> tuple[float, float]:
    """Time of a product cut into tiles, and of its arithmetic alone [s].

    Args:
        m, n, k: rows, columns and inner length, each at least 1.
        flop_per_s: of the device when every unit works on the best tile [FLOP/s].
        unit_count: units that work on one tile each.
        clock_hz: of the units [Hz].
        memory_s: time of the operands at the bandwidth that all units together reach [s].
        cache_bytes_per_s: rate for the parts of a split product; 0 forbids splitting [bytes/s].
    """
    unit_flop_per_s = flop_per_s / unit_count
    fill_s, second_pass_s = TILE_CYCLES / clock_hz, SPLIT_CYCLES / clock_hz
    all_steps = -(-k // K_STEP)
    best_s = best_compute_s = float("inf")
    for rows, columns in TILES:
        # A tile many times larger than the output is never better than a smaller one; skipping it saves time.
        if rows >= 8 * max(m, 16) or columns >= 8 * max(n, 16):
            continue
        tiles = -(-m // rows) * -(-n // columns)
        reuse = rows * columns / (rows + columns)
        slowdown = (1.0 + REUSE_HALF / reuse) / (1.0 + REUSE_HALF / _LARGEST_REUSE)
        step_s = 2.0 * rows * columns * K_STEP * slowdown / unit_flop_per_s
        for split in SPLITS:
            if split > 1 and (2 * split > all_steps or tiles * split > 2 * unit_count or not cache_bytes_per_s):
                break
            waves = -(-tiles * split // unit_count)
            compute_s = waves * (fill_s + -(-all_steps // split) * step_s)
            traffic_s = memory_s * max(1.0, unit_count / (tiles * split))
            seconds = max(compute_s, traffic_s) + EXPOSED_SHARE * min(compute_s, traffic_s)
            if split > 1:
                # Parts are fp32: written by one unit, read by the second pass.
                seconds += second_pass_s + 8.0 * split * m * n / cache_bytes_per_s
            if seconds < best_s:
                best_s, best_compute_s = seconds, compute_s
    return best_s, best_compute_s

"""Matrix products: tiles dealt to units in waves, beside traffic of memory and last-level cache.

Model: an output of m x n is cut into tiles; each of `sm_count` units works through its share, so that a tile that
sticks out costs as much as a full one and a wave that is not full as much as one that is. A step along k takes the
longest of arithmetic, feeding both operands from the cache, and the shortest step that a pipeline can make; a unit
with too few tiles at hand waits for latency instead. Every tile pays filling its pipeline and storing its result. k may
be split over units, at the price of a second pass that adds the parts. The library's choice of tile and split is the
fastest. The shorter of arithmetic and traffic hides behind the longer but for a share. What a caller says to be in the
last-level cache is read from there (`cache.py`). Operands that outgrow it are read again: either a panel of one stays
while all of the other passes, or every wave reads what its tiles need.

Long products run at what the power limit leaves (`power.py`). Switching power goes with the third power of the clock
and with the share of time that arithmetic takes, and a slower clock stretches all cycles, so that a product whose units
multiply a share d of their time takes d^(1/3) x efficiency / sustained efficiency longer, where that is more than 1.

Two kinds of unit. Those with `bulk_copies` (Hopper and its successors) load and store tiles by an engine of their own,
hand operands to neighbours, and take narrow tiles. The threads of the others load, multiply and store one after the
other: twice as much of the shorter part is in the open, storing takes twice as long, the next tile's first load waits
for memory, each tile takes both of its operands through the cache, and there is no tile narrower than 64. Their
libraries leave a row times a few columns to a kernel that gives each column a block of threads, which streams no faster
than it can ask (Little's law).
Source: NVIDIA, 'Matrix Multiplication Background User's Guide' (tile and wave quantisation) and the Hopper whitepaper
(tensor memory accelerator, clusters); P = C V^2 f as in `power.py`. Numbers marked as fitted: random search on the
error over half of NVIDIA aiconfigurator's GEMM table of H100 SXM (bf16, TensorRT-LLM 1.3, Apache-2.0), the half chosen
by a hash of the shape; 4 % median error on the other half. 'Twice' and '64' are round figures, checked on A100.
Valid for: dense products by a vendor library, on a device with `sm_count`; without it, the plain roofline at
`gemm_efficiency`.
Not modelled: stream-k, alignment of n and k to 8 elements, waves whose blocks drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import ceil, exp, sqrt
from typing import Final

from node.hardware.cache import cached_share, held_bytes
from node.hardware.device import ComputeSpec
from node.hardware.operation import ITEM_BYTES, Demand

TILES: Final[tuple[tuple[int, int], ...]] = (
    (256, 128), (128, 256), (128, 128), (64, 256), (256, 64), (128, 64), (64, 128), (64, 64), (64, 32), (32, 64),
    (64, 16), (16, 64),
)  # fmt: skip
"""Rows x columns of the tiles that a library chooses among, from large to small."""
NARROWEST_TILE: Final = 64
"""Least rows and columns of a tile on units without bulk copies."""
K_STEP: Final = 64
"""Inner length of one step of a tile's main loop."""
MOST_SPLITS: Final = 32
"""Parts that k is split into at most."""
MOST_SPLIT_WAVES: Final = 2
"""Waves that a split product fills at most."""
ENOUGH_WAVES: Final = 4
"""Waves beyond which smaller tiles only add ends; they are not tried unless this one sticks out."""
LITTLE_PADDING: Final = 1.05
"""Area of all tiles over that of the output, up to which a tile does not stick out."""
RESIDENT_TILES: Final = 3
"""Fitted: small tiles that a unit keeps at hand to hide latency."""
RESIDENT_AREA: Final = 128 * 256
"""Elements of the tiles at hand, all together: what registers hold as accumulators."""

STEP_CYCLES: Final = 101.0
"""Fitted: shortest step of a pipeline [cycles]."""
STEP_LATENCY_CYCLES: Final = 141.0
"""Fitted: step of a single tile whose loads nobody else hides [cycles]."""
FEED_BYTES: Final = 340.0
"""Fitted: bytes that a unit takes from the cache, with what neighbours share with it [bytes/cycle]."""
PORT_BYTES: Final = 64.0
"""What a unit without bulk copies takes from the cache: 64 a clock and SM in the A100 whitepaper [bytes/cycle]."""
CACHE_BYTES: Final = 22.5
"""Fitted: bytes that the last-level cache gives, for each unit, where a sheet has no `l2_read` [bytes/cycle]."""
FILL_CYCLES: Final = 300.0
"""Fitted: filling a tile's pipeline [cycles]."""
STORE_CYCLES: Final = 0.065
"""Fitted: storing an element of a tile [cycles]."""
SPLIT_CYCLES: Final = 4640.0
"""Fitted: second pass that adds the parts of a split product [cycles]."""
SPLIT_TRAFFIC: Final = 1.1
"""Fitted: share of the parts' bytes, written and read, that the second pass waits for."""
EXPOSED_SHARE: Final = 0.26
"""Fitted: share of the shorter of arithmetic and traffic that is not hidden behind the longer."""
EXPOSED_FACTOR: Final = 2.0
"""How much more of it is in the open without bulk copies."""
NARROW_SHARE: Final = 0.76
"""Fitted: share of the peak that long products of 8-bit operands sustain over that of 16-bit ones: steps of half the
time load as many bytes into the same accumulators."""
GOVERNOR_S: Final = 0.24e-3
"""Fitted: how long a product runs at boost before the power governor steps in [s]."""
LATENCY_CYCLES: Final = 1000.0
"""Assumed: from asking device memory to having the last answer, when all units ask [cycles]."""
VECTOR_BYTES: Final = 256 * 16.0
"""Bytes that a block of a vector's product has in flight: 256 threads that load 16 each."""
VECTOR_COLUMNS: Final = 256
"""Assumed: most columns that a library leaves to such a kernel."""

_DEFAULT_CLOCK_HZ = 1.5e9  # only scales the fixed cycles above, for sheets that give no clock


def gemm_time(
    demand: Demand, unit: ComputeSpec, peak_flop_per_s: float, tier_s: Mapping[str, float]
) -> tuple[float, dict[str, float]]:
    """Time and bounds of a matrix product; arguments and result as in `elementwise.streaming_time`."""
    constants = unit.constants
    efficiency = constants.get("gemm_efficiency", 1.0)
    memory = constants.get("memory_efficiency", 1.0)
    dims = demand.dims
    unit_count = int(constants.get("sm_count", 0))
    m, n, k = int(dims["m"]), int(dims["n"]), int(dims["k"])
    groups = int(dims.get("groups", 1))
    rate = peak_flop_per_s * efficiency
    if not (unit_count and m and n and k):
        parts = {name: seconds / memory for name, seconds in tier_s.items()}
        parts["compute"] = demand.flop / rate
        return max(parts.values()), parts
    clock_hz = constants.get("clock", _DEFAULT_CLOCK_HZ)
    moved = float(sum(demand.reads) + sum(demand.writes))
    missed = 1.0 - cached_share(demand, constants) if "span" in dims else 1.0
    parts = {name: seconds * missed / memory for name, seconds in tier_s.items()}
    slowest_s = max(parts.values(), default=0.0)
    byte_s = max(tier_s.values(), default=0.0) / memory / moved
    item_bytes = float(ITEM_BYTES[demand.dtype])
    held_rate = peak_flop_per_s * constants.get("sustained_efficiency", efficiency)
    if item_bytes < 2.0:
        held_rate *= NARROW_SHARE
    time_s, compute_s, power_s = tiled_time(
        m,
        n,
        k,
        rate,
        unit_count,
        clock_hz,
        slowest_s,
        moved,
        held_rate,
        constants.get("l2_read", unit_count * CACHE_BYTES * clock_hz),
        constants.get("bulk_copies", 0.0) > 0,
        item_bytes,
        held_bytes(constants.get("l2", 0.0), constants.get("l2_parts", 1.0)),
        byte_s,
        groups,
    )
    if m == 1 and n <= VECTOR_COLUMNS and not constants.get("bulk_copies"):
        cycles = ceil(n / unit_count) * LATENCY_CYCLES * (1.0 + demand.reads[1] / n / VECTOR_BYTES)
        time_s = min(time_s, max(slowest_s, cycles / clock_hz))
    parts["compute"] = compute_s
    if power_s > compute_s:
        parts["power"] = power_s
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
    moved_bytes: float,
    held_flop_per_s: float,
    cache_rate: float,
    bulk_copies: bool,
    item_bytes: float = 2.0,
    held_bytes: float = 0.0,
    byte_s: float = 0.0,
    groups: int = 1,
) -> tuple[float, float, float]:
    """Time of a product cut into tiles, of its arithmetic alone, and of its arithmetic at the power limit [s].

    Args:
        m, n, k: rows, columns and inner length, each at least 1.
        flop_per_s: of the device when every unit works at its best [FLOP/s].
        unit_count: units that work on one tile each.
        clock_hz: of the units [Hz].
        memory_s: time of the operands at the bandwidth that all units together reach [s].
        moved_bytes: of all operands, from wherever they come [bytes].
        held_flop_per_s: that the power limit leaves in the long run [FLOP/s].
        cache_rate: that the last-level cache gives to all units [bytes/s].
        bulk_copies: the units load tiles by an engine of their own.
        item_bytes: of an element of the operands [bytes].
        held_bytes: that the last-level cache keeps.
        byte_s: that memory takes for a byte that is read again [s].
        groups: products of this size that one kernel deals out together; none of them is split.
    """
    unit_cycles = unit_count * clock_hz
    cache_s = moved_bytes / cache_rate
    port_s = 0.0 if bulk_copies else moved_bytes / (PORT_BYTES * unit_cycles)
    exposed = EXPOSED_SHARE if bulk_copies else EXPOSED_SHARE * EXPOSED_FACTOR
    # A step takes as many bytes of a row, whatever the type.
    whole = groups > 1 or item_bytes < 2.0
    k_step = K_STEP if item_bytes >= 2.0 else 2 * K_STEP
    all_steps = -(-k // k_step)
    second_pass_s = SPLIT_CYCLES / clock_hz
    part_s = SPLIT_TRAFFIC * 8.0 * m * n / cache_rate
    best_s, best_compute_s, best_power_s = float("inf"), 0.0, 0.0
    feed = FEED_BYTES if bulk_copies else PORT_BYTES
    # Nobody loads for the next tile while the threads store this one.
    between = 0.0 if bulk_copies else LATENCY_CYCLES
    for rows, columns, area, step, ends, resident in _tiles(
        flop_per_s / unit_cycles, feed, item_bytes, k_step, bulk_copies
    ):
        # A tile that is mostly outside the output never wins against a smaller one.
        if (rows > 64 and rows >= 2 * m) or (columns > 64 and columns >= 2 * n):
            continue
        tiles = groups * -(-m // rows) * -(-n // columns)
        arithmetic_s = 2.0 * tiles * area * all_steps * k_step / flop_per_s
        again = groups * _read_again(m, n, k, unit_count * area, held_bytes / item_bytes)
        again_s = again * item_bytes * byte_s
        for split in (
            (1,) if whole or 2 * tiles > MOST_SPLIT_WAVES * unit_count else _splits(tiles, all_steps, unit_count)
        ):
            steps = -(-all_steps // split)
            blocks = tiles * split
            waves = -(-blocks // unit_count)
            cycles = waves * (steps * step + ends) + (waves - 1) * between
            # Loads of a single tile hide behind nothing.
            waiting = -(-waves // resident) * (steps * STEP_LATENCY_CYCLES + ends)
            compute_s = (cycles if cycles > waiting else waiting) / clock_hz
            # Power goes with the cube of the clock and the share of time that arithmetic takes; all cycles stretch.
            power_s = compute_s * (arithmetic_s / compute_s) ** (1.0 / 3.0) * flop_per_s / held_flop_per_s
            if bulk_copies:
                power_s *= 1.0 - exp(-power_s / GOVERNOR_S)
            worked_s = compute_s if compute_s > power_s else power_s
            if not bulk_copies:
                # Each tile takes both of its operands through the cache: nothing hands them to neighbours.
                worked_s = max(worked_s, blocks * steps * k_step * item_bytes * (rows + columns) / cache_rate)
            # Few units cannot ask for data as fast as memory could give it.
            few = unit_count / blocks if blocks < unit_count else 1.0
            traffic_s = max(memory_s * few, max(cache_s, few * port_s) if port_s else cache_s * few)
            seconds = worked_s + exposed * traffic_s if worked_s > traffic_s else traffic_s + exposed * worked_s
            # What is read again is asked for in the midst of arithmetic and hides behind it.
            seconds = max(seconds, memory_s + again_s)
            if split > 1:
                # Parts are fp32: written by one unit, read by the second pass.
                seconds += second_pass_s + split * part_s
            if seconds < best_s:
                best_s, best_compute_s, best_power_s = seconds, compute_s, power_s
        if tiles > ENOUGH_WAVES * unit_count and tiles * area <= LITTLE_PADDING * groups * m * n:
            break
    return best_s, best_compute_s, best_power_s


def _read_again(m: int, n: int, k: int, wave_area: int, held: float) -> float:
    """Elements of the operands that are read more than once.

    Args:
        m, n, k: rows, columns and inner length.
        wave_area: elements of the output that all units work on at once.
        held: elements that the cache keeps.
    """
    once = (m + n) * k
    if once <= held:
        return 0.0
    # A square of the output needs the fewest rows and columns of the operands.
    rows = min(float(m), max(sqrt(wave_area), wave_area / n))
    columns = min(float(n), wave_area / rows)
    by_wave = ceil(m / rows) * ceil(n / columns) * (rows + columns) * k
    if held > 0.0:
        by_panel = min(m * ceil(n * k / held) + n, n * ceil(m * k / held) + m) * k
        return max(0.0, min(by_wave, by_panel) - once)
    return max(0.0, by_wave - once)


@lru_cache(maxsize=256)
def _tiles(
    flop_per_cycle: float, feed_bytes: float, item_bytes: float, k_step: int, bulk_copies: bool
) -> tuple[tuple[int, int, int, float, float, int], ...]:
    """Rows, columns, area, cycles of a step, cycles of both ends, and tiles at hand, of every tile of such a unit."""
    narrowest = 1 if bulk_copies else NARROWEST_TILE
    store = STORE_CYCLES if bulk_copies else STORE_CYCLES * EXPOSED_FACTOR
    return tuple(
        (
            rows,
            columns,
            rows * columns,
            max(
                2.0 * rows * columns * k_step / flop_per_cycle,
                (rows + columns) * item_bytes * k_step / feed_bytes,
                STEP_CYCLES,
            ),
            FILL_CYCLES + rows * columns * store,
            max(1, min(RESIDENT_TILES, RESIDENT_AREA // (rows * columns))),
        )
        for rows, columns in TILES
        if min(rows, columns) >= narrowest
    )


@lru_cache(maxsize=4096)
def _splits(tiles: int, steps: int, unit_count: int) -> tuple[int, ...]:
    """Into how many parts k may be split: those that just fill one or two waves."""
    choices = [1]
    for waves in range(1, MOST_SPLIT_WAVES + 1):
        split = min(waves * unit_count // tiles, MOST_SPLITS, steps // 2)
        if split > choices[-1]:
            choices.append(split)
    return tuple(choices)

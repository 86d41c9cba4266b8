"""Activations quantised before an 8-bit product: one scale a row, found by a pass over the row before it is rounded.

Model: a block of threads takes one row, and rows of one unit follow one another. A row waits for the maximum of all
its threads between two passes over it (`ROW_CYCLES`); that of the first hides in the start of the kernel, but its
bytes come no faster than one block can ask for them (`ROW_BYTES`, Little's law). All bytes are read twice and written
once at what elementwise kernels reach.
Source: vLLM, csrc/quantization/fp8 (dynamic per-token quantisation: a block a row, block reduction, second pass).
`ROW_CYCLES` is read off NVIDIA aiconfigurator's fp8 GEMM table of H100 SXM (vLLM 0.24, Apache-2.0): 32,768 rows of 64
to 512 elements take 235 us longer than one, 248 rows a unit.
Valid for: kernels of their own before the product, on a device with `sm_count`; without it, two passes at the
bandwidth.
Not modelled: quantisation fused into the kernel before (a norm, an activation), a second pass that hits the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final

from node.hardware.device import ComputeSpec
from node.hardware.operation import Demand

ROW_CYCLES: Final = 1700.0
"""Measured: a row, beyond its bytes [cycles]."""
ROW_BYTES: Final = 1024 * 16.0 / 1000.0
"""Assumed: what a block can ask for [bytes/cycle]: 1,024 threads that load 16 bytes each, in 1,000 cycles."""
PASSES: Final = 2
"""Times that a row is read."""

_DEFAULT_CLOCK_HZ = 1.5e9


def quantisation_time(
    demand: Demand, unit: ComputeSpec, peak_flop_per_s: float, tier_s: Mapping[str, float]
) -> tuple[float, dict[str, float]]:
    """Time and bounds of quantising rows; arguments and result as in `elementwise.streaming_time`."""
    constants = unit.constants
    parts = {name: seconds / constants.get("memory_efficiency", 1.0) for name, seconds in tier_s.items()}
    units = constants.get("sm_count", 0.0)
    rows_s = 0.0
    rows = demand.dims["rows"]
    if units and rows:
        cycles = (ceil(rows / units) - 1) * ROW_CYCLES + demand.reads[0] / rows / ROW_BYTES
        rows_s = cycles / constants.get("clock", _DEFAULT_CLOCK_HZ)
    moved_s = max(parts.values(), default=0.0)
    parts["compute"] = rows_s
    return rows_s + moved_s, parts

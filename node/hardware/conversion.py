"""Operands that a kernel converts in registers before it multiplies: weights in few bits, caches in 8 bits.

Model: the lanes of a unit run one 32-bit instruction each and clock (`LANES`); what they convert is hidden behind the
rest of the kernel, or the rest behind it, but for the share that `gemm.py` has for loads and products: both are stages
of one pipeline.
Source: CUDA C++ Programming Guide, 'Arithmetic Instructions': 64 32-bit logical, compare and conversion instructions a
clock and SM of compute capability 8.0 to 10.0; Frantar et al. 2024, Marlin, arXiv 2408.11743, section 3.3 (conversion
overlapped with tensor-core products).
Valid for: GPUs, whose units have 64 or 128 lanes in fp32; wider units, and devices without `sm_count`, convert at half
of their peak in fp32, an instruction a multiply-add.
Not modelled: registers that conversion takes from the pipeline.
"""

from __future__ import annotations

from typing import Final

from node.hardware.device import ComputeSpec, DeviceSpec
from node.hardware.gemm import EXPOSED_SHARE
from node.hardware.peak import choose_unit, whole_chip

LANES: Final = 64
"""32-bit integer and conversion instructions of a unit and clock."""
GPU_LANES: Final = 128
"""Lanes in fp32 of a unit of a GPU, at most; boost clocks differ by some percent between sheets."""


def conversion_time(instructions: float, spec: DeviceSpec) -> float:
    """Time of `instructions` over all lanes of the device [s]."""
    unit: ComputeSpec = choose_unit(spec, "vector")
    constants = whole_chip(spec, unit).constants
    rate = (unit.peak_flop_per_s.get("fp32") or max(unit.peak_flop_per_s.values())) / 2.0
    unit_hz = constants.get("sm_count", 0.0) * constants.get("clock", 0.0)
    if unit_hz and LANES <= rate / unit_hz < GPU_LANES * 1.2:
        rate = unit_hz * LANES
    return instructions / rate


def with_conversion(time_s: float, converted_s: float) -> float:
    """Time of a kernel that takes `time_s` for the rest [s]."""
    return max(time_s, converted_s) + EXPOSED_SHARE * min(time_s, converted_s)

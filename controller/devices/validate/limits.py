"""What no measurement can be: faster than the chip.

The limit is loose on purpose. Clocks above the printed boost carry a chip beyond its printed peak (an H100 is printed
at 1830 MHz and clocks up to 1980), and what fits into the last-level cache need not cross the memory bus.
"""

from __future__ import annotations

from typing import Final

from controller.devices.predict.question import Prediction
from node.hardware.device import DeviceSpec
from node.hardware.peak import choose_unit, peak_flop_per_s
from node.hardware.units import GIGA, MEGA, TERA

BOOST: Final = 1.12
"""Highest clock over the clock of the printed peak; 1.08 on an H100, 1.0 to 1.1 on others."""


def why_unphysical(spec: DeviceSpec, predicted: Prediction, measured_s: float) -> str:
    """One sentence when `measured_s` [s] beats what the chip can do; empty otherwise."""
    if predicted.flop and predicted.dtype:
        unit = choose_unit(spec, "tensor")
        peak = peak_flop_per_s(unit, predicted.dtype, spec.product)
        rate = predicted.flop / measured_s
        if rate > BOOST * peak:
            return (
                f"unphysical: {rate / TERA:.4g} TFLOP/s in {measured_s * MEGA:.4g} us, where {spec.product} has a peak "
                f"of {peak / TERA:.4g} TFLOP/s ({predicted.dtype}, dense)"
            )
    tier = next(iter(spec.tiers.values()))
    cache = max((unit.constants.get("l2", 0.0) for unit in spec.computes.values()), default=0.0)
    rate = (predicted.moved_bytes - cache) / measured_s
    if rate > BOOST * tier.read_bytes_per_s:
        return (
            f"unphysical: {rate / GIGA:.4g} GB/s beyond the cache, where {tier.name} of {spec.product} reads "
            f"{tier.read_bytes_per_s / GIGA:.4g} GB/s"
        )
    return ""

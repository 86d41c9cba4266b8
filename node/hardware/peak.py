"""Which compute unit of a device runs a kernel, and at which peak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from node.errors import Unsupported
from node.hardware.device import ComputeSpec, DeviceSpec
from node.hardware.nearest import nearest_with_peak

_UNIT_ORDER: Final[Mapping[str, tuple[str, ...]]] = {
    "tensor": ("tensor", "engine", "vector"),
    "vector": ("vector", "engine", "tensor"),
    "engine": ("engine", "vector", "tensor"),
}
_CHIP: Final = ("sm_count", "clock", "l2", "l2_read", "l2_parts")
NARROW: Final = ("fp8", "int8")
"""Types that widen into no other on the matrix unit that has them: their products are what the type is for."""
_SIBLING: Final[Mapping[str, str]] = {"fp16": "bf16", "bf16": "fp16"}


def choose_unit(spec: DeviceSpec, preferred: str) -> ComputeSpec:
    """The unit that runs a kernel which would like `preferred`; a device without it uses what it has.

    Raises:
        Unsupported: the device has no compute unit.
    """
    for name in _UNIT_ORDER.get(preferred, (preferred,)):
        if name in spec.computes:
            return spec.computes[name]
    raise Unsupported(
        f"{spec.product} ({spec.kind}) has no compute unit, so it runs no kernel; launch it on a device that has one"
    )


def whole_chip(spec: DeviceSpec, unit: ComputeSpec) -> ComputeSpec:
    """`unit` with the numbers of the whole chip, which sheets write at its first unit: units, caches, clock."""
    first = next(iter(spec.computes.values()))
    shared = {name: first.constants[name] for name in _CHIP if name in first.constants}
    return unit if first is unit or not shared else replace(unit, constants={**shared, **unit.constants})


def part_of_cores(unit: ComputeSpec, share: float) -> ComputeSpec:
    """`unit` with a share of its cores, rounded to whole ones, and with what grows with their number."""
    constants = dict(unit.constants)
    if "sm_count" in constants:
        cores = max(1.0, round(constants["sm_count"] * share))
        share, constants["sm_count"] = cores / constants["sm_count"], cores
    if "l2_read" in constants:
        constants["l2_read"] *= share
    peaks = {dtype: share * peak for dtype, peak in unit.peak_flop_per_s.items()}
    return replace(unit, peak_flop_per_s=peaks, constants=constants)


def peak_flop_per_s(unit: ComputeSpec, dtype: str, product: str = "") -> float:
    """Dense peak of `unit` for arithmetic in `dtype` [FLOP/s].

    A type that the sheet leaves out falls back to its sibling of equal width (fp16 and bf16 run at one rate on every
    unit that has both), then to fp32, into which it can be widened.

    Raises:
        Unsupported: neither the type nor a fallback has a peak.
    """
    peaks = unit.peak_flop_per_s
    if dtype in peaks:
        return peaks[dtype]
    sibling = _SIBLING.get(dtype, dtype)
    if sibling in peaks:
        return peaks[sibling]
    if dtype in NARROW and unit.name != "vector":
        raise Unsupported(
            f"unit {unit.name} of {product or 'this device'} has no peak for {dtype}, only for {', '.join(peaks)}; "
            f"{nearest_with_peak(peaks, dtype)}, or override {unit.name}.peak.{dtype}"
        )
    if "fp32" in peaks:
        return peaks["fp32"]
    raise Unsupported(
        f"unit {unit.name} of {product or 'this device'} has no peak for {dtype}, nor for fp32; it has "
        f"{', '.join(peaks)}; add {unit.name}.peak.{dtype} to the sheet or override it"
    )

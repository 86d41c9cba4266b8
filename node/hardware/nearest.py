"""Which product of the catalog to use where a chip cannot multiply in a type."""

from __future__ import annotations

from collections.abc import Mapping
from math import log

from node.hardware.catalog import list_products, load_product
from node.hardware.device import DeviceSpec


def nearest_with_peak(peaks: Mapping[str, float], dtype: str) -> str:
    """What to use instead: the product of the catalog with a peak for `dtype` whose 16-bit peak is nearest."""
    mine = peaks.get("bf16") or peaks.get("fp16") or max(peaks.values())
    best, distance = "", float("inf")
    for product in list_products():
        theirs = choose_matrix(load_product(product))
        if theirs is not None and dtype in theirs and "bf16" in theirs:
            away = abs(log(theirs["bf16"] / mine))
            if away < distance:
                best, distance = product, away
    return f"the nearest product that has one is {best}: choose it" if best else "no product of the catalog has one"


def choose_matrix(spec: DeviceSpec) -> Mapping[str, float] | None:
    """Peaks of the unit that multiplies matrices; None where there is none."""
    return spec.computes["tensor"].peak_flop_per_s if "tensor" in spec.computes else None

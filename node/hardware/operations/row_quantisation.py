"""What it takes to quantise activations to 8 bits, one scale a row: family ``quantisation`` with ``rows``."""

from __future__ import annotations

from node.hardware.operation import ITEM_BYTES, Demand
from node.hardware.quantisation import PASSES

_ELEMENT_FLOP = 4  # magnitude, maximum, divide, round


def row_quantisation_demand(rows: int, columns: int, dtype: str = "bf16") -> Demand:
    """Work of turning (rows, columns) of `dtype` into 8-bit elements and one fp32 scale a row."""
    elements = rows * columns
    return Demand(
        "quantisation",
        float(_ELEMENT_FLOP * elements),
        (PASSES * elements * ITEM_BYTES[dtype],),
        (elements, 4 * rows),
        "fp32",
        "vector",
        {"rows": rows},
    )

"""The optimizer step: family ``optimizer``."""

from __future__ import annotations

from node.errors import DtypeMismatch
from node.hardware.operation import Demand
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define
from node.hardware.operations.expect import (
    FLOATS,
    expect_counts,
    expect_dtype,
    expect_float,
    expect_like,
    expect_range,
    expect_shape,
)

# Per element: decay of p 1; m 3 (two products, a sum); v 4 (square, two products, a sum); sqrt, correction, plus eps,
# divide, times rate, subtract 6.
_ADAM_FLOP = 14


def _check_adam(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    expect_counts("adam", "p, g, m, v -> p, m, v[, copy]", inputs, outputs, (4,), (3, 4))
    p, g, m, v = inputs
    expect_dtype("adam", "p", p, "fp32", "the step is taken on the fp32 copy of the parameters")
    expect_shape("adam", "g", g, p.shape, "p has that shape")
    if g.dtype not in FLOATS:
        raise DtypeMismatch(f"adam: g is {g.dtype}, expected fp32, bf16 or fp16")
    expect_like("adam", "m", m, p, "p")
    expect_like("adam", "v", v, p, "p")
    for operand, out in zip(("output p", "output m", "output v"), outputs, strict=False):
        expect_like("adam", operand, out, p, "p")
    if len(outputs) == 4:
        expect_shape("adam", "copy", outputs[3], p.shape, "p has that shape")
        expect_float("adam", "copy", outputs[3])
    for name in ("beta1", "beta2"):
        expect_range("adam", name, attributes.number(name), 0.0, 1.0 - 1e-12)
    for name in ("lr", "eps", "weight_decay"):
        expect_range("adam", name, attributes.number(name), 0.0, 1e6)
    expect_range("adam", "step", attributes.integer("step"), 1, 2**62, "(the first step is 1)")


def _adam_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    size = inputs[0].size
    reads = tuple([tensor.nbytes for tensor in inputs])
    writes = tuple([tensor.nbytes for tensor in outputs])
    return Demand("optimizer", float(_ADAM_FLOP * size), reads, writes, "fp32", "vector", {"elements": size})


OPTIMIZER = (
    define(
        "adam",
        "p fp32 (...), g (...), m fp32 (...), v fp32 (...) -> p, m, v[, copy (...)]: one Adam step with bias "
        "correction and decoupled weight decay (AdamW; the same as Adam where `weight_decay` is 0); p, m and v may be "
        "the inputs themselves, and the copy is the new p in another type",
        _check_adam,
        _adam_demand,
        {
            "lr": (float, None),
            "step": (int, None),
            "beta1": (float, 0.9),
            "beta2": (float, 0.999),
            "eps": (float, 1e-8),
            "weight_decay": (float, 0.0),
        },
    ),
)

"""The optimizer step: family ``optimizer``."""

from __future__ import annotations

from node.errors import DtypeMismatch
from node.hardware.operation import AttributeValue, Demand
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
    _check_step("adam", inputs, outputs, attributes)


def _check_step(op: str, inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    p, g, m, v = inputs
    expect_dtype(op, "p", p, "fp32", "the step is taken on the fp32 copy of the parameters")
    expect_shape(op, "g", g, p.shape, "p has that shape")
    if g.dtype not in FLOATS:
        raise DtypeMismatch(f"{op}: g is {g.dtype}, expected fp32, bf16 or fp16")
    expect_like(op, "m", m, p, "p")
    expect_like(op, "v", v, p, "p")
    for operand, out in zip(("output p", "output m", "output v"), outputs, strict=False):
        expect_like(op, operand, out, p, "p")
    if len(outputs) == 4:
        expect_shape(op, "copy", outputs[3], p.shape, "p has that shape")
        expect_float(op, "copy", outputs[3])
    for name in ("beta1", "beta2"):
        expect_range(op, name, attributes.number(name), 0.0, 1.0 - 1e-12)
    for name in ("lr", "eps", "weight_decay"):
        expect_range(op, name, attributes.number(name), 0.0, 1e6)
    expect_range(op, "step", attributes.integer("step"), 1, 2**62, "(the first step is 1)")


def _adam_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    size = inputs[0].size
    reads = tuple([tensor.nbytes for tensor in inputs])
    writes = tuple([tensor.nbytes for tensor in outputs])
    return Demand("optimizer", float(_ADAM_FLOP * size), reads, writes, "fp32", "vector", {"elements": size})


def _pieces(inputs: Types, outputs: Types) -> tuple[list[Types], list[Types]]:
    """The operands of ``adam_pieces`` by piece: four inputs each, and three outputs, or four with a copy."""
    count, each = len(inputs) // 4, 4 if len(outputs) == len(inputs) else 3
    ins = [inputs[4 * place : 4 * place + 4] for place in range(count)]
    return ins, [outputs[each * place : each * place + each] for place in range(count)]


def _check_adam_pieces(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    count = max(1, len(inputs) // 4)
    operands = "p, g, m, v of every piece -> p, m, v[, copy] of every piece"
    expect_counts("adam_pieces", operands, inputs, outputs, (4 * count,), (3 * count, 4 * count))
    for ins, outs in zip(*_pieces(inputs, outputs), strict=True):
        _check_step("adam_pieces", ins, outs, attributes)
    expect_range("adam_pieces", "span", attributes.integer("span"), 0, 2**62, "bytes")


def _adam_pieces_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    size = sum(tensor.size for tensor in inputs[::4])
    dims = {"elements": float(size)}
    if attributes.integer("span"):
        dims["span"] = float(attributes.integer("span"))
    reads = tuple([tensor.nbytes for tensor in inputs])
    writes = tuple([tensor.nbytes for tensor in outputs])
    return Demand("optimizer", float(_ADAM_FLOP * size), reads, writes, "fp32", "vector", dims)


_SETTINGS: dict[str, tuple[type, AttributeValue | None]] = {
    "lr": (float, None),
    "step": (int, None),
    "beta1": (float, 0.9),
    "beta2": (float, 0.999),
    "eps": (float, 1e-8),
    "weight_decay": (float, 0.0),
}

OPTIMIZER = (
    define(
        "adam",
        "p fp32 (...), g (...), m fp32 (...), v fp32 (...) -> p, m, v[, copy (...)]: one Adam step with bias "
        "correction and decoupled weight decay (AdamW; the same as Adam where `weight_decay` is 0); p, m and v may be "
        "the inputs themselves, and the copy is the new p in another type",
        _check_adam,
        _adam_demand,
        _SETTINGS,
    ),
    define(
        "adam_pieces",
        "p fp32 (n), g (n), m fp32 (n), v fp32 (n) of every piece -> p, m, v[, copy] of every piece: one step of "
        "`adam` over a tensor that lies in pieces, by all cores at once; `span` is the traffic since the operands were "
        "last used [bytes], where nothing but the same step is repeated as in a benchmark, 0 where they come from "
        "memory",
        _check_adam_pieces,
        _adam_pieces_demand,
        {**_SETTINGS, "span": (int, 0)},
    ),
)

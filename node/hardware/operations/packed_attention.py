"""Attention of a training step on q, k and v as one projection gives them, side by side: no layout is changed.

The columns of ``qkv`` are ``h`` query heads, ``g`` key heads and ``g`` value heads of ``d`` elements each. Forward
keeps the log-sum-exp of each row, from which backward computes the weights again instead of reading them.
Source: Dao, "FlashAttention-2", arXiv 2307.08691, sections 2.3 and 3.1: backward has five products where forward has
two, so it counts 2.5 times the FLOP.
"""

from __future__ import annotations

from node.errors import BadAttribute
from node.hardware.operation import Demand, TensorType
from node.hardware.operations.attention import attended_pairs
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define, elementwise_demand
from node.hardware.operations.expect import (
    expect_counts,
    expect_float,
    expect_like,
    expect_range,
    expect_rank,
    refuse_shape,
)

BACKWARD_PRODUCTS = 2.5
"""FLOP of backward over those of forward."""
_ROTARY_FLOP = 3  # per element of q and k: times cosine, times sine, sum
_LARGEST = 1e12
_MOST_HEADS = 1 << 20


def head_counts(attributes: CompleteAttributes) -> tuple[int, int]:
    """Query heads and key heads."""
    return attributes.integer("heads"), attributes.integer("kv_heads")


def _check_packed(name: str, qkv: TensorType, attributes: CompleteAttributes) -> int:
    """Checks ``qkv`` and gives the head dimension."""
    heads, groups = head_counts(attributes)
    expect_range(name, "heads", heads, 1, _MOST_HEADS, "query heads")
    expect_range(name, "kv_heads", groups, 1, heads, "key heads")
    if heads % groups:
        raise BadAttribute(f"{name}: 'heads' is {heads} and 'kv_heads' {groups}; kv_heads must divide heads")
    expect_float(name, "qkv", qkv)
    expect_rank(name, "qkv", qkv, "(b, t, (h+2g)*d)", 3)
    if qkv.shape[2] % (heads + 2 * groups):
        refuse_shape(name, "qkv", qkv, f"(b, t, {heads + 2 * groups}*d)", f"there are {heads} + 2 x {groups} heads")
    return qkv.shape[2] // (heads + 2 * groups)


def _check_window(name: str, attributes: CompleteAttributes) -> None:
    expect_range(name, "window", attributes.integer("window"), 0, _LARGEST, "tokens (0 for all)")


def _results(qkv: TensorType, dim: int, attributes: CompleteAttributes) -> tuple[TensorType, TensorType]:
    batch, tokens, _ = qkv.shape
    heads, _ = head_counts(attributes)
    return TensorType((batch, tokens, heads * dim), qkv.dtype), TensorType((batch, heads, tokens), "fp32")


def _check_forward(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "flash_attention"
    expect_counts(name, "qkv -> out, lse", inputs, outputs, (1,), (2,))
    dim = _check_packed(name, inputs[0], attributes)
    out, lse = _results(inputs[0], dim, attributes)
    expect_like(name, "out", outputs[0], out, "attention of these heads")
    expect_like(name, "lse", outputs[1], lse, "the log-sum-exp of these heads")
    _check_window(name, attributes)


def _check_backward(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "flash_attention_backward"
    expect_counts(name, "qkv, out, lse, dout -> dqkv", inputs, outputs, (4,), (1,))
    dim = _check_packed(name, inputs[0], attributes)
    out, lse = _results(inputs[0], dim, attributes)
    expect_like(name, "out", inputs[1], out, "attention of these heads")
    expect_like(name, "lse", inputs[2], lse, "the log-sum-exp of these heads")
    expect_like(name, "dout", inputs[3], out, "attention of these heads")
    expect_like(name, "dqkv", outputs[0], inputs[0], "qkv")
    _check_window(name, attributes)


def _demand(inputs: Types, outputs: Types, attributes: CompleteAttributes, products: float) -> Demand:
    batch, tokens, columns = inputs[0].shape
    heads, groups = head_counts(attributes)
    dim, window = columns // (heads + 2 * groups), attributes.integer("window")
    pairs = attended_pairs(tokens, True, window)
    dims = {
        "batch": batch,
        "heads": heads,
        "kv_heads": groups,
        "tokens": tokens,
        "head_dim": dim,
        "causal": 1.0,
        "window": window,
        # The model of the family times pairs; each costs so many times more products.
        "pairs": products * pairs,
    }
    reads, writes = tuple([tensor.nbytes for tensor in inputs]), tuple([tensor.nbytes for tensor in outputs])
    flop = 4.0 * products * batch * heads * pairs * dim
    return Demand("prefill_attention", flop, reads, writes, inputs[0].dtype, "tensor", dims)


def _forward_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    return _demand(inputs, outputs, attributes, 1.0)


def _backward_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    return _demand(inputs, outputs, attributes, BACKWARD_PRODUCTS)


def _check_rotary(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "rotary_qkv"
    expect_counts(name, "qkv -> out", inputs, outputs, (1,), (1,))
    dim = _check_packed(name, inputs[0], attributes)
    if dim % 2:
        refuse_shape(name, "qkv", inputs[0], "(b, t, (h+2g)*d) with d even", f"d is {dim}")
    expect_range(name, "theta", attributes.number("theta"), 1.0, _LARGEST)
    expect_range(name, "factor", attributes.number("factor"), 1e-6, _LARGEST)
    expect_like(name, "out", outputs[0], inputs[0], "qkv")


def _rotary_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    # Counted as written in place: the values pass unread.
    heads, groups = head_counts(attributes)
    turned = inputs[0].size // (heads + 2 * groups) * (heads + groups)
    nbytes = inputs[0].nbytes // (heads + 2 * groups) * (heads + groups)
    return elementwise_demand(inputs, outputs, _ROTARY_FLOP * turned, (nbytes,), (nbytes,))


_HEADS = {"heads": (int, None), "kv_heads": (int, None)}

PACKED_ATTENTION = (
    define(
        "rotary_qkv",
        "qkv (b, t, (h+2g)*d) -> the same: query and key heads rotated as by `rotary` from position 0, back where "
        "`inverse` is set, which is the gradient",
        _check_rotary,
        _rotary_demand,
        {**_HEADS, "theta": (float, None), "factor": (float, 1.0), "inverse": (bool, False)},
    ),
    define(
        "flash_attention",
        "qkv (b, t, (h+2g)*d) -> out (b, t, h*d), lse fp32 (b, h, t): causal attention, `window` tokens back, with "
        "the log of the sum of the exponentials",
        _check_forward,
        _forward_demand,
        {**_HEADS, "scale": (float, None), "window": (int, 0)},
    ),
    define(
        "flash_attention_backward",
        "qkv (b, t, (h+2g)*d), out (b, t, h*d), lse fp32 (b, h, t), dout (b, t, h*d) -> dqkv (b, t, (h+2g)*d): "
        "gradient of `flash_attention`",
        _check_backward,
        _backward_demand,
        {**_HEADS, "scale": (float, None), "window": (int, 0)},
    ),
)

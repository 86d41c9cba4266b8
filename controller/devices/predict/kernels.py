"""Questions about kernels of a transformer: products and attentions."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Final

from controller.devices.predict.question import (
    Column,
    Prediction,
    Question,
    Sizes,
    ask_kernel,
    number,
    one_after_the_other,
)
from controller.errors import BadQuestion
from node.hardware.device import DeviceSpec
from node.hardware.operation import ITEM_BYTES, Demand, TensorType
from node.hardware.operations import complete_attributes, operation
from node.hardware.operations.row_quantisation import row_quantisation_demand

MOST_COPIES: Final = 5
"""Copies of the weights that kernel databases rotate through at most."""


def gemm(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """y (m, n) = x (m, k) times w (n, k) transposed; 8-bit floats are quantised from bf16 by a kernel before."""
    m, n, k = (number(sizes, name) for name in ("m", "n", "k"))
    # 8-bit products give 16-bit results.
    out = "bf16" if ITEM_BYTES[dtype] == 1 else dtype
    reads = (m * k * ITEM_BYTES[dtype], n * k * ITEM_BYTES[dtype])
    writes = m * n * ITEM_BYTES[out]
    copies = number(sizes, "copies") or _copies(spec, reads[1])
    dims = {"m": m, "n": n, "k": k, "span": copies * reads[1] + reads[0] + writes, "near_span": sum(reads) + writes}
    product = ask_kernel(spec, Demand("gemm", 2.0 * m * n * k, reads, (writes,), dtype, "tensor", dims))
    if dtype != "fp8":
        return product
    return one_after_the_other(ask_kernel(spec, row_quantisation_demand(m, k)), product)


def _copies(spec: DeviceSpec, weight_bytes: int) -> int:
    """Copies of the weights that kernel databases rotate through: enough to fill the last-level cache, at most five."""
    cache_bytes = max((unit.constants.get("l2", 0.0) for unit in spec.computes.values()), default=0.0)
    return max(1, min(MOST_COPIES, ceil(cache_bytes / weight_bytes)))


def decode_attention(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """One new token of each sequence over ``isl + step`` cached ones."""
    batch, heads, groups, dim, tokens = _heads(sizes)
    window = number(sizes, "window_size")
    tokens = min(tokens, window) if window else tokens
    kv = TensorType((batch, groups, tokens, dim), dtype)
    q = TensorType((batch, heads, dim), dtype)
    outputs = (q, TensorType((batch, heads), "fp32"))
    entry = operation("decode_attention")
    attributes = complete_attributes(entry, {"tokens": (tokens,), "scale": 1.0})
    demand = entry.demand((q, kv, kv), outputs, attributes)
    # The same cache is read over and over, as a benchmark does.
    span = float(sum(demand.reads) + sum(demand.writes))
    return ask_kernel(spec, replace(demand, dims={**demand.dims, "span": span, "near_span": span}))


def prefill_attention(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """Causal attention of ``isl`` new tokens of each sequence after ``step`` cached ones."""
    batch, heads, groups, dim, keys = _heads(sizes)
    tokens, window = number(sizes, "isl"), number(sizes, "window_size")
    cached = keys - tokens
    # Query i sees the cached tokens, the new ones before it and itself, and of those at most the window.
    pairs = tokens * cached + tokens * (tokens + 1) // 2
    if window:
        growing = max(0, min(tokens, window - cached))
        pairs = growing * cached + growing * (growing + 1) // 2 + (tokens - growing) * window
    item = ITEM_BYTES[dtype]
    q_bytes, kv_bytes = batch * heads * tokens * dim * item, batch * groups * keys * dim * item
    dims = {
        "batch": batch, "heads": heads, "kv_heads": groups, "tokens": tokens, "cached": cached, "head_dim": dim,
        "causal": 1.0, "window": window, "pairs": pairs,
    }  # fmt: skip
    flop = 4.0 * batch * heads * pairs * dim
    reads = (q_bytes, kv_bytes, kv_bytes)
    # The same operands are attended over and over, as a benchmark does; a kernel before adds positions to them.
    span = float(sum(reads) + q_bytes)
    fresh = 2 * (q_bytes + 2 * batch * groups * tokens * dim * item)
    dims |= {"span": span, "near_span": span, "prepare": fresh}
    return ask_kernel(spec, Demand("prefill_attention", flop, reads, (q_bytes,), dtype, "tensor", dims))


def _heads(sizes: Sizes) -> tuple[int, int, int, int, int]:
    names = ("batch_size", "num_heads", "num_key_value_heads", "head_dim", "isl", "step")
    batch, heads, groups, dim, isl, step = (number(sizes, name) for name in names)
    groups = groups or heads
    if heads % groups:
        raise BadQuestion(
            f"num_heads is {heads} and num_key_value_heads {groups}; the first is a multiple of the second"
        )
    return batch, heads, groups, dim, isl + step


_COPIES = Column("copies", "copies of the weights in turn; 0 for as many as fill the cache, at most 5", 0, 0)
_ATTENTION = (
    Column("batch_size", "sequences", 1, short=("batch",)),
    Column("isl", "tokens: of the prompt, or cached before decoding began", short=("tokens",)),
    Column("step", "tokens beside isl: cached before the prompt, or decoded since", 0, 0),
    Column("num_heads", "query heads", short=("heads",)),
    Column("num_key_value_heads", "key and value heads; 0 for as many as query heads", 0, 0, short=("kv-heads",)),
    Column("head_dim", "elements of a head", 128),
    Column("window_size", "tokens that a token looks back on; 0 for all", 0, 0, short=("window",)),
)

KERNELS: Final = (
    Question(
        "gemm",
        "y (m, n) = x (m, k) times weights (n, k).",
        (Column("m", "rows"), Column("n", "columns"), Column("k", "inner length"), _COPIES),
        gemm,
    ),
    Question("decode_attention", "One new token of each sequence over cached ones.", _ATTENTION, decode_attention),
    Question("prefill_attention", "Causal attention over a prompt.", _ATTENTION, prefill_attention),
)

"""Attention over a KV cache in pages, for rows of many requests at once, and the write of their keys and values.

The pool is (p, l, 2, g, n, d): p pages of n tokens, in each of them keys and values of l layers, so that a page is one
range of bytes wherever it moves. A table (r, m) names the pages of each of r requests in the order of its tokens.

Source: Kwon et al., 'PagedAttention', SOSP 2023, section 4.1; rows of unequal requests in one launch as in Dao et al.,
FlashAttention-2 (arXiv 2307.08691), 'varlen'.
"""

from __future__ import annotations

from node.errors import BadAttribute
from node.hardware.operation import Demand, TensorType
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define, elementwise_demand
from node.hardware.operations.expect import (
    expect_counts,
    expect_dtype,
    expect_float,
    expect_like,
    expect_range,
    expect_rank,
    expect_shape,
    refuse_shape,
)

_POOL = "(p, l, 2, g, n, d)"


def _check_paging(name: str, rows_operand: str, x: TensorType, pool: TensorType, table: TensorType,
                  attributes: CompleteAttributes) -> None:  # fmt: skip
    expect_float(name, rows_operand, x)
    expect_rank(name, rows_operand, x, "(t, n)", 2)
    expect_rank(name, "pool", pool, _POOL, 6)
    expect_dtype(name, "pool", pool, x.dtype, f"{rows_operand} is")
    if pool.shape[2] != 2 or not all(pool.shape[1:]):
        refuse_shape(name, "pool", pool, _POOL, "a page holds keys and values of at least one layer and head")
    expect_rank(name, "table", table, "(r, m)", 2)
    expect_dtype(name, "table", table, "int64")
    rows, tokens = attributes.integers("rows"), attributes.integers("tokens")
    requests, capacity = table.shape[0], table.shape[1] * pool.shape[4]
    if len(rows) != requests or len(tokens) != requests:
        raise BadAttribute(
            f"{name}: 'rows' is {rows} and 'tokens' {tokens}, expected {requests} numbers each, one a line of the table"
        )
    for index, (own, held) in enumerate(zip(rows, tokens, strict=True)):
        expect_range(name, f"tokens[{index}]", held, 1, capacity, f"tokens, the pages of a line of {table.shape}")
        expect_range(name, f"rows[{index}]", own, 1, held, "of the tokens")
    if sum(rows) != x.shape[0]:
        refuse_shape(name, rows_operand, x, f"({sum(rows)}, n)", f"'rows' is {rows}")
    expect_range(name, "layer", attributes.integer("layer"), 0, pool.shape[1] - 1, "layers of the pool")


def _check_attention(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "paged_attention"
    expect_counts(name, "q, pool, table -> out", inputs, outputs, (3,), (1,))
    q, pool, table = inputs
    _check_paging(name, "q", q, pool, table, attributes)
    width = pool.shape[3] * pool.shape[5]
    if not q.shape[1] or q.shape[1] % width:
        refuse_shape(name, "q", q, f"(t, h*d), a multiple of {width} columns", f"pool is {pool.shape}")
    expect_range(name, "window", attributes.integer("window"), 0, 1 << 40)
    expect_like(name, "out", outputs[0], q, "q")


def seen_pairs(rows: int, tokens: int, window: int) -> int:
    """Pairs of the last `rows` of `tokens` tokens and those that each sees, itself and before, `window` at most."""
    first, last = tokens - rows + 1, tokens
    if window and first >= window:
        return rows * window
    if window and last > window:
        return (first + window) * (window - first + 1) // 2 + (last - window) * window
    return (first + last) * rows // 2


def _attention_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    q, pool, table = inputs
    rows, tokens, window = attributes.integers("rows"), attributes.integers("tokens"), attributes.integer("window")
    groups, dim = pool.shape[3], pool.shape[5]
    heads, item = q.shape[1] // dim, pool.nbytes // max(pool.size, 1)
    spans = [min(held, window + own - 1) if window else held for own, held in zip(rows, tokens, strict=True)]
    pairs = sum(seen_pairs(own, held, window) for own, held in zip(rows, tokens, strict=True))
    reads = (q.nbytes, 2 * sum(spans) * groups * dim * item, table.nbytes)
    flop = 4.0 * heads * pairs * dim
    dims: dict[str, float] = {"batch": len(rows), "heads": heads, "kv_heads": groups, "head_dim": dim}
    if max(rows) == 1:
        dims["tokens"] = sum(spans) / len(spans)
        return Demand("decode_attention", flop, reads, (outputs[0].nbytes,), q.dtype, "tensor", dims)
    dims |= {"batch": 1, "tokens": sum(rows), "keys": sum(spans), "causal": 1.0, "window": window, "pairs": pairs}
    return Demand("prefill_attention", flop, reads, (outputs[0].nbytes,), q.dtype, "tensor", dims)


def _check_write(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "paged_write"
    expect_counts(name, "k, v, table -> pool", inputs, outputs, (3,), (1,))
    k, v, table = inputs
    pool = outputs[0]
    _check_paging(name, "k", k, pool, table, attributes)
    expect_shape(name, "k", k, (k.shape[0], pool.shape[3] * pool.shape[5]), f"pool is {pool.shape}")
    expect_like(name, "v", v, k, "k")


def _write_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    k, v, table = inputs
    return elementwise_demand(inputs, outputs, 0, (k.nbytes, v.nbytes, table.nbytes), (k.nbytes + v.nbytes,))


PAGED_ATTENTION = (
    define(
        "paged_attention",
        "q (t, h*d), pool (p, l, 2, g, n, d), table int64 (r, m) -> out (t, h*d): causal attention of the last rows[i] "
        "of tokens[i] cached tokens of each request, whose rows of q follow each other, over its pages of one layer; "
        "`window` tokens back",
        _check_attention,
        _attention_demand,
        {"rows": (tuple, None), "tokens": (tuple, None), "layer": (int, None), "scale": (float, None),
         "window": (int, 0)},
    ),
    define(
        "paged_write",
        "k (t, g*d), v (t, g*d), table int64 (r, m) -> pool (p, l, 2, g, n, d), in place: keys and values of the last "
        "rows[i] of tokens[i] tokens of each request go to its pages of one layer",
        _check_write,
        _write_demand,
        {"rows": (tuple, None), "tokens": (tuple, None), "layer": (int, None)},
        in_place=(0,),
    ),
)  # fmt: skip

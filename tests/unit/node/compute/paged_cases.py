"""Launches over a KV cache in pages, beside plain loops in float64."""

from __future__ import annotations

import numpy as np

FP, I64 = "fp", "int64"


def plain_attention(q, pool, table, rows, tokens, layer, scale, window=0):
    """Every row by the definition: softmax over the tokens that it sees, one page slot at a time."""
    out, first = np.zeros_like(q), 0
    groups, size, dim = pool.shape[3:]
    heads = q.shape[1] // dim
    for line, own, held in zip(table, rows, tokens, strict=True):
        for row, head in np.ndindex(own, heads):
            at = held - own + row
            seen = range(max(0, at + 1 - window) if window else 0, at + 1)
            keys, values = (
                np.array([pool[line[i // size], layer, part, head * groups // heads, i % size] for i in seen])
                for part in (0, 1)
            )
            mine = slice(head * dim, (head + 1) * dim)
            scores = scale * keys @ q[first + row, mine]
            weights = np.exp(scores - scores.max())
            out[first + row, mine] = weights / weights.sum() @ values
        first += own
    return (out,)


def plain_write(k, v, table, rows, tokens, layer):
    """A pool of as many pages as the table names, all of whose slots are written."""
    groups, size = 2, 3
    pool = np.zeros((table.max() + 1, 1, 2, groups, size, k.shape[1] // groups))
    first = 0
    for line, own, held in zip(table, rows, tokens, strict=True):
        for row in range(own):
            at = held - own + row
            for part, source in enumerate((k, v)):
                pool[line[at // size], layer, part, :, at % size] = source[first + row].reshape(groups, -1)
        first += own
    return (pool,)


def cases(case):
    """By operation."""
    pool = (5, 2, 2, 2, 3, 4)
    several = {"rows": (1, 4, 2), "tokens": (6, 4, 5), "layer": 1, "scale": 0.5}
    one_each = {"rows": (1, 1, 1), "tokens": (6, 1, 5), "layer": 0, "scale": 0.5}
    pages = {2: ((4, 1), (0, 2), (3, 1))}

    def attention(rows, attributes):
        inputs = ((rows, 16), FP), (pool, FP), ((3, 2), I64)
        return case(inputs, (((rows, 16), FP),), plain_attention, attributes, given=pages)

    return {
        "paged_attention": (attention(7, several), attention(7, {**several, "window": 2}), attention(3, one_each)),
        "paged_write": (
            case(
                (((9, 8), FP), ((9, 8), FP), ((2, 2), I64)), (((3, 1, 2, 2, 3, 4), FP),), plain_write,
                {"rows": (6, 3), "tokens": (6, 3), "layer": 0}, given={2: ((2, 0), (1, 1))},
            ),
        ),
    }  # fmt: skip

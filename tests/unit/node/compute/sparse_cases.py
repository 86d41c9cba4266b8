"""Launches of SparF attention, what it keeps up to date, and a new token that joins, for the conformance suite."""

from __future__ import annotations

import numpy as np

FP, F32 = "fp", "fp32"


def same(*shapes):
    return tuple((shape, FP) for shape in shapes)


def sparf_of_all(q, mean, counts, channel_keys, k, v, k_tail, v_tail, tokens, **_):
    """With every channel and token kept, SparF is dense attention, and its pages are all there are."""
    keys = np.concatenate([k[:, :, : tokens[0]], k_tail[:, :, : tokens[1]]], 2)
    values = np.concatenate([v[:, :, : tokens[0]], v_tail[:, :, : tokens[1]]], 2)
    out, per = np.zeros_like(q), q.shape[1] // k.shape[1]
    for b, h in np.ndindex(q.shape[:2]):
        scores = np.exp(0.3 * keys[b, h // per] @ q[b, h])
        out[b, h] = scores @ values[b, h // per] / scores.sum()
    return out, counts + np.array([2 * 4 + 4, 2 * 4])


def joined(before, lse, q, k, v, scale):
    """Softmax over the tokens before and one more, by its definition."""
    out, per = np.zeros_like(q), q.shape[1] // k.shape[1]
    for b, h in np.ndindex(q.shape[:2]):
        old, new = np.exp(lse[b, h]), np.exp(scale * q[b, h] @ k[b, h // per])
        out[b, h] = (old * before[b, h] + new * v[b, h // per]) / (old + new)
    return (out,)


def cases(case):
    """Launches by operation, each made by `case`."""
    return {
        "sparf_attention": (
            case(
                (
                    *(((2, 4, 8), FP), ((2, 2, 8), F32), ((2,), F32)),
                    *same((2, 2, 8, 6), (2, 2, 6, 8), (2, 2, 6, 8), (2, 2, 4, 8), (2, 2, 4, 8)),
                ),
                (((2, 4, 8), FP), ((2,), F32)),
                sparf_of_all,
                {"tokens": (5, 3), "channels": 8, "keep": 8, "scale": 0.3},
            ),
        ),
        "merge_new_token": (
            case(
                (((2, 4, 8), FP), ((2, 4), F32), ((2, 4, 8), FP), ((2, 2, 8), FP), ((2, 2, 8), FP)),
                same((2, 4, 8)),
                joined,
                {"scale": 0.3},
            ),
        ),
        "running_mean": (
            case(
                (((2, 2, 4), F32), ((2, 2, 5, 4), FP)),
                (((2, 2, 4), F32),),
                lambda mean, x, count, tokens: ((mean * count + x[:, :, :tokens].sum(2)) / (count + tokens),),
                {"count": 3, "tokens": 4},
            ),
        ),
        "channel_write": (
            case(
                same((2, 2, 5, 4)),
                same((2, 2, 4, 5)),
                lambda x, position, tokens: (x.swapaxes(2, 3),),
                {"position": 0, "tokens": 5},
            ),
        ),
    }

"""Launches of mixtures of experts and of latent attention, for the conformance suite."""

from __future__ import annotations

import numpy as np

FP, F32, I64 = "fp", "fp32", "int64"


def same(*shapes):
    return tuple((shape, FP) for shape in shapes)


def gate(logits, bias=None, *, k, score="softmax", normalise=False, scale=1.0, groups=1, kept_groups=1, group_top=1):
    """Token by token, as the papers write it."""
    weights, chosen = np.zeros((len(logits), k)), np.zeros((len(logits), k), dtype=np.int64)
    for t, row in enumerate(logits):
        scores = {"softmax": np.exp(row) / np.exp(row).sum(), "sigmoid": 1 / (1 + np.exp(-row))}.get(score, row)
        wanted = scores + (0 if bias is None else bias)
        size = len(row) // groups
        of_group = [np.sort(wanted[g * size : (g + 1) * size])[-group_top:].sum() for g in range(groups)]
        kept = np.argsort(-np.array(of_group), kind="stable")[:kept_groups]
        allowed = [e for e in range(len(row)) if e // size in kept]
        best = sorted(allowed, key=lambda e: (-wanted[e], e))[:k]
        given = scores[best]
        if score == "chosen_softmax":
            given = np.exp(given) / np.exp(given).sum()
        if normalise:
            given = given / given.sum()
        weights[t], chosen[t] = given * scale, best
    return weights, chosen


def rows_by_expert(x, experts, dropped=None, *, count, capacity=None):
    """Expert by expert, the slots that chose it; what finds no room comes at the end."""
    k, order, over, ends = experts.shape[1], [], [], []
    for e in range(count):
        took = [slot for slot in range(experts.size) if experts.flat[slot] == e]
        order += took[:capacity]
        over += [] if capacity is None else took[capacity:]
        ends.append(len(order))
    made = x[[slot // k for slot in order + over]], np.array(order + over), np.array(ends)
    return made if dropped is None else (*made, dropped + len(over))


def grouped(rows, w, ends, bias=None, loads=(), capacity=0):
    """Row i belongs to the first expert that ends later, and to none where all ended before."""
    out = np.zeros((len(rows), w.shape[1]))
    for i, row in enumerate(rows[: int(ends[-1])]):
        expert = int(np.searchsorted(ends, i, side="right"))
        out[i] = w[expert] @ row + (0 if bias is None else bias[expert])
    return (out,)


def clamped(gate, up, slope=1.702, limit=7.0):
    gate, up = np.minimum(gate, limit), np.clip(up, -limit, limit)
    return (gate / (1 + np.exp(-slope * gate)) * (up + 1),)


def weighted(rows, order, weights):
    out = np.zeros((len(weights), rows.shape[1]))
    for i, slot in enumerate(order):
        out[slot // weights.shape[1]] += weights.flat[slot] * rows[i]
    return (out,)


def prefill(q, q_rope, k, k_rope, v, heads, scale, offset=0):
    batch, tokens, _ = q.shape
    split = [x.reshape(batch, x.shape[1], heads, -1) for x in (q, q_rope, k, v)]
    out = np.zeros((batch, tokens, heads, split[3].shape[-1]))
    for b, t, h in np.ndindex(batch, tokens, heads):
        seen = t + 1 + offset
        keys = np.concatenate([split[2][b, :seen, h], k_rope[b, :seen]], -1)
        scores = np.exp(scale * keys @ np.concatenate([split[0][b, t, h], split[1][b, t, h]]))
        out[b, t, h] = scores @ split[3][b, :seen, h] / scores.sum()
    return (out.reshape(batch, tokens, -1),)


def decode(q, q_rope, *segments, tokens, scale, starts=()):
    starts = starts or (0,) * len(tokens)
    out, lse = np.zeros_like(q), np.full(q.shape[:2], -np.inf)
    for b, h in np.ndindex(q.shape[:2]):
        c, turned = (
            np.concatenate([s[b, 0, i:j] for s, i, j in zip(segments[odd::2], starts, tokens, strict=True)])
            for odd in (0, 1)
        )
        if len(c):
            scores = scale * (c @ q[b, h] + turned @ q_rope[b, h])
            lse[b, h] = np.log(np.exp(scores).sum())
            out[b, h] = np.exp(scores - lse[b, h]) @ c
    return out, lse


def cases(case):
    """Launches by operation, each made by `case`."""
    choice = (((3, 2), F32), ((3, 2), I64))
    attended = (((2, 3, 4), FP), ((2, 3), F32))
    return {
        "expert_gate": (
            case(same((3, 8)), choice, gate, {"k": 2}),
            case(same((3, 8)), choice, gate, {"k": 2, "normalise": True, "scale": 2.5}),
            case(same((3, 8)), choice, gate, {"k": 2, "score": "chosen_softmax"}),
            case(same((3, 8)), choice, gate, {"k": 2, "groups": 4, "kept_groups": 2, "scale": 16.0}),
            case(
                same((3, 8), (8,)), choice, gate,
                {"k": 2, "score": "sigmoid", "normalise": True, "groups": 2, "kept_groups": 1, "group_top": 2},
            ),
        ),
        "expert_rows": (
            case(
                (((4, 6), FP), ((4, 2), I64)), (((8, 6), FP), ((8,), I64), ((5,), I64)), rows_by_expert, {"count": 5}
            ),
            case(
                (((4, 6), FP), ((4, 2), I64)), (((8, 6), FP), ((8,), I64), ((5,), I64)), rows_by_expert,
                {"count": 5, "capacity": 2}, given={1: ((3, 1), (3, 0), (1, 3), (3, 4))},
            ),
            case(
                (((4, 6), FP), ((4, 2), I64), ((1,), I64)), (((8, 6), FP), ((8,), I64), ((5,), I64), ((1,), I64)),
                rows_by_expert, {"count": 5, "capacity": 1}, given={1: ((3, 1), (3, 0), (1, 3), (3, 4)), 2: (7,)},
            ),
        ),
        "grouped_linear": (
            case((*same((6, 4), (3, 5, 4)), ((3,), I64)), same((6, 5)), grouped, given={2: (2, 2, 6)}),
            case(
                (*same((6, 4), (3, 5, 4)), ((3,), I64), *same((3, 5))), same((6, 5)), grouped,
                {"loads": (1, 0, 5)}, given={2: (1, 4, 6)},
            ),
            case(
                (*same((6, 4), (3, 5, 4)), ((3,), I64), *same((3, 5))), same((6, 5)), grouped,
                {"loads": (1, 0, 5), "capacity": 2}, given={2: (2, 2, 4)},
            ),
        ),
        "expert_sum": (
            case(
                (((6, 5), FP), ((6,), I64), ((3, 2), F32)), same((3, 5)), weighted, given={1: (4, 0, 2, 5, 1, 3)}
            ),
        ),
        "kv_cast": (case(same((2, 3, 4)), same((2, 3, 4)), lambda x: (x,)),),
        "clamped_swiglu": (
            case(same((3, 7), (3, 7)), same((3, 7)), clamped),
            case(same((3, 7), (3, 7)), same((3, 7)), clamped, {"slope": 1.0, "limit": 0.5}),
        ),
        "head_linear": (
            case(same((2, 3, 4), (3, 5, 4)), same((2, 3, 5)), lambda x, w: (np.einsum("bhk,hnk->bhn", x, w),)),
            case(
                same((2, 3, 4), (3, 4, 5)), same((2, 3, 5)),
                lambda x, w, turned: (np.einsum("bhk,hkn->bhn", x, w),), {"turned": True},
            ),
        ),
        "latent_prefill_attention": (
            case(
                same((2, 5, 12), (2, 5, 6), (2, 5, 12), (2, 5, 2), (2, 5, 9)), same((2, 5, 9)), prefill,
                {"heads": 3, "scale": 0.4},
            ),
            case(
                same((2, 3, 12), (2, 3, 6), (2, 5, 12), (2, 5, 2), (2, 5, 9)), same((2, 3, 9)), prefill,
                {"heads": 3, "scale": 0.4, "offset": 2},
            ),
        ),
        "latent_decode_attention": (
            case(same((2, 3, 4), (2, 3, 2), (2, 1, 6, 4), (2, 1, 6, 2)), attended, decode,
                 {"tokens": (5,), "scale": 0.4}),
            case(
                same((2, 3, 4), (2, 3, 2), (2, 1, 6, 4), (2, 1, 6, 2), (2, 1, 3, 4), (2, 1, 3, 2)), attended, decode,
                {"tokens": (4, 2), "starts": (3, 0), "scale": 0.4},
            ),
            case(same((2, 3, 4), (2, 3, 2), (2, 1, 6, 4), (2, 1, 6, 2)), attended, decode,
                 {"tokens": (0,), "scale": 0.4}),
        ),
    }  # fmt: skip

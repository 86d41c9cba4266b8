"""Attention by its definition, in double precision, and how many elements of a result are wrong.

Queries and keys are drawn from -3 to 3, so that a few keys matter to each query and a wrong merge shows, and values
from -1 to 1. An element is right when it differs from the exact one by at most two roundings to its type (of partial
results, whose weights add up to 1, and of the sum) and what fp32 arithmetic may add: with S the largest possible score,
a score is off by at most d eps S, a weight by twice that share, and a sum of n weighted values by n eps (Higham,
Accuracy and Stability of Numerical Algorithms, 2nd edition, sections 3.1 and 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from controller.collectives.attention.call import AttentionCall
from controller.collectives.attention.layouts import Layout
from controller.collectives.measure.verify import EPSILON

Array = npt.NDArray[Any]
LARGEST = 3.0
"""Of queries and keys."""
ROWS = 256
"""Queries whose scores are held at once."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """The whole prompt, in the order of its tokens.

    Attributes:
        q: queries (t, b, h, d).
        k, v: keys and values (t, b, g, d).
    """

    q: Array
    k: Array
    v: Array


def seeded_sequence(call: AttentionCall, seed: int = 0) -> Sequence:
    """Values of numpy's type of the call's name; bf16 as fp32 values that bf16 holds exactly."""
    draw = np.random.default_rng(seed)
    wide = (call.tokens, call.batch, call.heads, call.head_dim)
    narrow = (call.tokens, call.batch, call.kv_heads, call.head_dim)
    return Sequence(
        *(
            _held_by(call.dtype, draw.uniform(-limit, limit, shape))
            for shape, limit in ((wide, LARGEST), (narrow, LARGEST), (narrow, 1.0))
        )
    )


def _held_by(dtype: str, values: Array) -> Array:
    if dtype == "fp16":
        return values.astype(np.float16)
    single = values.astype(np.float32)
    if dtype == "bf16":
        single = (single.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    return single


def exact(call: AttentionCall, sequence: Sequence) -> Array:
    """Attention of the whole prompt on one device (t, b, h, d), in double precision."""
    k, v = sequence.k.astype(np.float64), sequence.v.astype(np.float64)
    group = call.heads // call.kv_heads
    result = np.empty(sequence.q.shape)
    for start in range(0, call.tokens, ROWS):
        rows = slice(start, min(start + ROWS, call.tokens))
        for head in range(call.heads):
            q = sequence.q[rows, :, head].astype(np.float64)
            scores = np.einsum("tbd,nbd->btn", q, k[:, :, head // group]) * call.scale
            if call.causal:
                later = np.arange(call.tokens)[None, :] > np.arange(call.tokens)[rows, None]
                scores[:, later] = -np.inf
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            result[rows, :, head] = np.einsum("btn,nbd->tbd", weights, v[:, :, head // group])
    return result


def tolerance(call: AttentionCall) -> float:
    """Largest difference from the exact result that arithmetic explains; values are at most 1."""
    half = EPSILON[call.dtype] if call.accumulates else 0.0
    largest_score = call.scale * call.head_dim * LARGEST**2
    return half + EPSILON["fp32"] * (2 * call.head_dim * largest_score + call.tokens)


def inputs_of(call: AttentionCall, layout: Layout, rank: int, sequence: Sequence) -> dict[str, Array]:
    """What a rank is given, by the name of the buffer."""
    held = layout.positions(call, rank)
    return {"q": sequence.q[held], "kv": np.stack([sequence.k[held], sequence.v[held]])}


def wrong_count(call: AttentionCall, layout: Layout, rank: int, output: Array, expected: Array) -> int:
    """How many elements of the result of a rank are wrong.

    Args:
        call: what was called.
        layout: which tokens lie where.
        rank: whose result it is.
        output: as read from the device (t, b, h, d); bf16 as its bits (uint16).
        expected: of the whole prompt, from `exact`.
    """
    if call.dtype == "bf16" and output.dtype == np.uint16:
        output = (output.astype(np.uint32) << np.uint32(16)).view(np.float32)
    wanted = expected[layout.positions(call, rank)]
    if output.shape != wanted.shape:
        return int(max(output.size, wanted.size))
    # Not "larger than": a NaN must count as wrong.
    right = np.abs(output.astype(np.float64) - wanted) <= tolerance(call)
    return int(np.count_nonzero(~right))

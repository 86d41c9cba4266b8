"""Mixtures of experts: the gate that chooses, rows sorted by expert, grouped products, and the weighted sum.

`t` tokens with `k` experts each are always t*k rows, whatever the gate chooses, so that memory is known before data
are. How the rows fall on the experts is data; `grouped_linear` takes it at run time from `ends`, and its demand from
`loads`, the declared oracle. Nothing is dropped unless `capacity` bounds the rows of an expert: those beyond it, in the
order of tokens, are behind the rows of all experts, and products make zeros of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from node.errors import BadAttribute
from node.hardware.operation import ITEM_BYTES, Demand, TensorType
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define, elementwise_demand
from node.hardware.operations.expect import (
    expect_choice,
    expect_counts,
    expect_dtype,
    expect_float,
    expect_like,
    expect_range,
    expect_rank,
    expect_shape,
    refuse_shape,
)

SCORES = ("softmax", "sigmoid", "chosen_softmax")
"""What a gate makes of its logits: a softmax over all experts, a sigmoid each, or a softmax over the chosen ones."""

_GATE_FLOP = 4
"""Per logit: its score (an exp, a sum, a division) and a comparison."""
_CLAMPED_FLOP = 7
"""Per element: two clamps, the slope, an exp with its sum and division, the offset and the product."""
_LARGEST = 1e12


def expert_loads(rows: int, experts: int, loads: Sequence[int] = ()) -> tuple[int, ...]:
    """Rows of every expert where `rows` are spread in proportion to `loads`, evenly where there are none.

    What does not divide goes to the experts with the largest remainders, the first of equal ones.
    """
    weights = tuple(loads) or (1,) * experts
    total = sum(weights)
    counts = [rows * weight // total for weight in weights]
    left = rows - sum(counts)
    order = sorted(range(experts), key=lambda expert: (-(rows * weights[expert] % total), expert))
    for expert in order[:left]:
        counts[expert] += 1
    return tuple(counts)


def kept_loads(rows: int, experts: int, attributes: CompleteAttributes) -> tuple[int, ...]:
    """Rows of every expert that a grouped product computes: those declared, at most `capacity` where it is not 0."""
    capacity = attributes.integer("capacity")
    counts = expert_loads(rows, experts, attributes.integers("loads")) if experts else ()
    return tuple(min(count, capacity) for count in counts) if capacity else counts


def _check_gate(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "expert_gate"
    expect_counts(name, "logits[, bias] -> weights, experts", inputs, outputs, (1, 2), (2,))
    logits, k = inputs[0], attributes.integer("k")
    expect_float(name, "logits", logits)
    expect_rank(name, "logits", logits, "(t, e)", 2)
    tokens, experts = logits.shape
    if len(inputs) == 2:
        expect_shape(name, "bias", inputs[1], (experts,), f"logits is {logits.shape}")
        expect_float(name, "bias", inputs[1])
    expect_choice(name, "score", attributes.text("score"), SCORES)
    groups, kept = attributes.integer("groups"), attributes.integer("kept_groups")
    expect_range(name, "groups", groups, 1, max(experts, 1), "groups of experts")
    if experts % groups:
        raise BadAttribute(f"{name}: attribute 'groups' is {groups}, expected a divisor of the {experts} experts")
    expect_range(name, "kept_groups", kept, 1, groups, "groups")
    expect_range(name, "group_top", attributes.integer("group_top"), 1, max(experts // groups, 1), "experts of a group")
    expect_range(name, "k", k, 1, experts // groups * kept, "experts that may be chosen")
    expect_range(name, "scale", attributes.number("scale"), 0.0, _LARGEST)
    expect_like(name, "weights", outputs[0], TensorType((tokens, k), "fp32"), "the score of each chosen expert")
    expect_like(name, "experts", outputs[1], TensorType((tokens, k), "int64"), "the number of each chosen expert")


def _gate_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, _GATE_FLOP * inputs[0].size)


def _check_rows(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "expert_rows"
    if len(inputs) == 3:
        expect_counts(name, "x, experts, dropped -> rows, order, ends, dropped", inputs, outputs, (3,), (4,))
        for operand, each in (("dropped", inputs[2]), ("output dropped", outputs[3])):
            expect_like(name, operand, each, TensorType((1,), "int64"), "a count")
    else:
        expect_counts(name, "x, experts -> rows, order, ends", inputs, outputs, (2,), (3,))
    x, chosen = inputs[:2]
    expect_rank(name, "x", x, "(t, n)", 2)
    expect_rank(name, "experts", chosen, "(t, k)", 2)
    expect_shape(name, "experts", chosen, (x.shape[0], chosen.shape[1]), f"x is {x.shape}")
    expect_dtype(name, "experts", chosen, "int64")
    expect_range(name, "count", attributes.integer("count"), 1, 1 << 20, "experts")
    expect_capacity(name, attributes)
    expect_shape(name, "rows", outputs[0], (chosen.size, x.shape[1]), f"experts is {chosen.shape}")
    expect_dtype(name, "rows", outputs[0], x.dtype, "x is")
    expect_like(name, "order", outputs[1], TensorType((chosen.size,), "int64"), "the choice behind every row")
    ends = TensorType((attributes.integer("count"),), "int64")
    expect_like(name, "ends", outputs[2], ends, "the row after the last of every expert")


def _rows_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    x, chosen = inputs[:2]
    demand = elementwise_demand(inputs, outputs, 0)
    return replace(demand, dims=gathered_dims(x.shape[0], chosen.size, x.nbytes))


def gathered_dims(tokens: int, rows: int, source_bytes: int) -> dict[str, float]:
    """What a copy of rows by expert says of the cache: each expert passes over all tokens again.

    Args:
        tokens: that rows are copied from.
        rows: of all experts.
        source_bytes: of the tokens [bytes].
    """
    return {"again": max(0, rows - tokens) * source_bytes / max(1, tokens), "span": float(source_bytes)}


def expect_loads(name: str, loads: tuple[int, ...], experts: int) -> None:
    """Raises BadAttribute unless `loads` is empty or has a share of every expert."""
    if loads and (len(loads) != experts or min(loads) < 0 or not any(loads)):
        raise BadAttribute(
            f"{name}: attribute 'loads' has {len(loads)} entries for {experts} experts, expected one of 0 or more for "
            f"each and not all 0; leave it out for balanced routing"
        )


def expect_capacity(name: str, attributes: CompleteAttributes) -> None:
    """Raises BadAttribute unless `capacity` is a number of rows, or 0 for no bound."""
    expect_range(name, "capacity", attributes.integer("capacity"), 0, 1 << 62, "rows of an expert, 0 for no bound")


def grouped_dims(counts: Sequence[int], columns: int, length: int) -> dict[str, float]:
    """What the model of grouped products reads, from the rows of every expert and the extents of a weight."""
    rows, active = sum(counts), max(1, sum(count > 0 for count in counts))
    return {
        "m": -(-rows // active), "n": columns, "k": length, "groups": active,
        "rows": rows, "experts": len(counts), "active": active, "most": max(counts, default=0),
    }  # fmt: skip


def _check_gate_rows(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    name = "gate_rows"
    expect_counts(name, "x, score -> out", inputs, outputs, (2,), (1,))
    expect_float(name, "x", inputs[0])
    expect_rank(name, "x", inputs[0], "(t, n)", 2)
    expect_like(name, "score", inputs[1], TensorType((inputs[0].shape[0], 1), inputs[0].dtype), "a score of every row")
    expect_like(name, "out", outputs[0], inputs[0], "x")


def _gate_rows_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, inputs[0].size + _GATE_FLOP * inputs[1].size)


def _check_grouped(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "grouped_linear"
    expect_counts(name, "rows, w, ends[, bias] -> out", inputs, outputs, (3, 4), (1,))
    rows, w, ends = inputs[:3]
    expect_float(name, "rows", rows)
    expect_rank(name, "rows", rows, "(r, k)", 2)
    expect_rank(name, "w", w, "(e, n, k)", 3)
    experts, columns, length = w.shape
    if length != rows.shape[1]:
        refuse_shape(name, "w", w, f"(e, n, {rows.shape[1]})", f"rows has {rows.shape[1]} columns")
    expect_dtype(name, "w", w, rows.dtype, "rows is")
    expect_like(name, "ends", ends, TensorType((experts,), "int64"), "the row after the last of every expert")
    if len(inputs) == 4:
        expect_shape(name, "bias", inputs[3], (experts, columns), f"w is {w.shape}")
        expect_dtype(name, "bias", inputs[3], rows.dtype, "rows is")
    expect_loads(name, attributes.integers("loads"), experts)
    expect_capacity(name, attributes)
    expect_shape(name, "out", outputs[0], (rows.shape[0], columns), f"w is {w.shape}")
    expect_dtype(name, "out", outputs[0], rows.dtype, "rows is")


def _grouped_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    """Experts that nobody chose are not read, nor are rows that were dropped; each active expert has its own tiles."""
    rows, w, ends = inputs[:3]
    experts, columns, length = w.shape
    counts = kept_loads(rows.shape[0], experts, attributes)
    kept = sum(counts) if attributes.integer("capacity") else rows.shape[0]
    dims = grouped_dims(counts, columns, length)
    active = int(dims["groups"])
    reads = [
        kept * length * ITEM_BYTES[rows.dtype],
        min(active, experts) * columns * length * ITEM_BYTES[w.dtype],
        ends.nbytes,
    ]
    flop = 2.0 * kept * columns * length
    if len(inputs) == 4:
        reads.append(min(active, experts) * columns * ITEM_BYTES[rows.dtype])
        flop += kept * columns
    return Demand("grouped_gemm", flop, tuple(reads), (outputs[0].nbytes,), rows.dtype, "tensor", dims)


def _check_clamped(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "clamped_swiglu"
    expect_counts(name, "gate, up -> out", inputs, outputs, (2,), (1,))
    expect_float(name, "gate", inputs[0])
    expect_like(name, "up", inputs[1], inputs[0], "gate")
    expect_like(name, "out", outputs[0], inputs[0], "gate")
    expect_range(name, "slope", attributes.number("slope"), 0.0, _LARGEST)
    expect_range(name, "limit", attributes.number("limit"), 0.0, _LARGEST)


def _clamped_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, _CLAMPED_FLOP * inputs[0].size)


def _check_sum(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    name = "expert_sum"
    expect_counts(name, "rows, order, weights -> out", inputs, outputs, (3,), (1,))
    rows, order, weights = inputs
    expect_float(name, "rows", rows)
    expect_rank(name, "rows", rows, "(t*k, n)", 2)
    expect_rank(name, "weights", weights, "(t, k)", 2)
    expect_dtype(name, "weights", weights, "fp32")
    expect_like(name, "order", order, TensorType((weights.size,), "int64"), "the choice behind every row")
    expect_shape(name, "rows", rows, (weights.size, rows.shape[1]), f"weights is {weights.shape}")
    expect_shape(name, "out", outputs[0], (weights.shape[0], rows.shape[1]), f"weights is {weights.shape}")
    expect_dtype(name, "out", outputs[0], rows.dtype, "rows is")


def _sum_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, 2.0 * inputs[0].size)


EXPERTS = (
    define(
        "expert_gate",
        "logits (t, e)[, bias (e)] -> weights fp32 (t, k), experts int64 (t, k): the `k` best experts of each token by "
        "score plus bias, best first, out of the `kept_groups` best of `groups` groups; a group counts as its "
        "`group_top` best; `normalise` makes the weights of a token sum to 1, `scale` follows",
        _check_gate,
        _gate_demand,
        {
            "k": (int, None), "score": (str, "softmax"), "normalise": (bool, False), "scale": (float, 1.0),
            "groups": (int, 1), "kept_groups": (int, 1), "group_top": (int, 1),
        },
    ),
    define(
        "expert_rows",
        "x (t, n), experts int64 (t, k)[, dropped int64 (1)] -> rows (t*k, n), order int64 (t*k), ends int64 (e)[, "
        "dropped]: rows of x by expert; row i is choice order[i] of t*k, and those of expert j end before ends[j]; "
        "`count` is e; an expert keeps its first `capacity` rows in the order of tokens (0: all), and rows beyond are "
        "last, after every end, and added to `dropped`",
        _check_rows,
        _rows_demand,
        {"count": (int, None), "capacity": (int, 0)},
    ),
    define(
        "grouped_linear",
        "rows (r, k), w (e, n, k), ends int64 (e)[, bias (e, n)] -> (r, n): the rows of each expert times the "
        "transpose of its weight, plus its bias; `loads` is the declared share of each expert, evenly when empty; "
        "`capacity` is the most rows of an expert (0: any), and rows after the last end become zeros then",
        _check_grouped,
        _grouped_demand,
        {"loads": (tuple, ()), "capacity": (int, 0)},
    ),
    define(
        "clamped_swiglu",
        "gate (...), up (...) -> (...): gate sigmoid(`slope` gate) (up + 1), gate at most `limit`, up within it",
        _check_clamped,
        _clamped_demand,
        {"slope": (float, 1.702), "limit": (float, 7.0)},
    ),
    define(
        "gate_rows",
        "x (t, n), score (t, 1) -> (t, n): every row times the sigmoid of its score",
        _check_gate_rows,
        _gate_rows_demand,
    ),
    define(
        "expert_sum",
        "rows (t*k, n), order int64 (t*k), weights fp32 (t, k) -> (t, n): sum of the rows of each token by weight",
        _check_sum,
        _sum_demand,
    ),
)  # fmt: skip

"""Laws that hold for every shape: division of attention, inverses, demand that adds up."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from node.compute.kernels import run
from node.hardware.operation import TensorType
from node.hardware.operations import operation

QUICK = settings(max_examples=60, deadline=None)


def randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def decode(q: torch.Tensor, segments: list[torch.Tensor], tokens: tuple, starts: tuple = ()) -> list[torch.Tensor]:
    out = [torch.full(q.shape, 7.0), torch.full(q.shape[:2], 7.0)]
    attributes = {"tokens": tokens, "starts": starts, "scale": q.shape[-1] ** -0.5}
    inputs = [q, *segments]
    types = [[TensorType(tuple(tensor.shape), "fp32") for tensor in operands] for operands in (inputs, out)]
    operation("decode_attention").check(types[0], types[1], attributes)
    run("decode_attention", inputs, out, attributes)
    return out


@st.composite
def attention_shapes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Batch, KV heads, query heads a KV head, head dimension."""
    return draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.sampled_from((2, 8, 16)))


@QUICK
@given(attention_shapes(), st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=4))
def test_divided_attention_equals_the_whole(shape: tuple, cuts: list[tuple[int, int]]):
    """Segments in one launch, and one launch a segment merged by log-sum-exp, equal attention over all tokens."""
    batch, groups, per, dim = shape
    q = randn(1, batch, groups * per, dim)
    lengths = tuple(length for length, _ in cuts)
    # Each segment has spare capacity behind its tokens that holds garbage.
    segments = [randn(10 + i, batch, groups, n + spare + 1, dim) for i, (n, spare) in enumerate(cuts) for _ in "kv"]
    segments = [segment + index % 2 for index, segment in enumerate(segments)]
    whole = [torch.cat([s[:, :, :n] for s, n in zip(segments[odd::2], lengths, strict=True)], 2) for odd in (0, 1)]
    whole = [torch.cat([s, torch.zeros(batch, groups, 1, dim)], 2) for s in whole]
    expected = decode(q, whole, (sum(lengths),))
    together = decode(q, segments, lengths)
    parts = [decode(q, segments[2 * i : 2 * i + 2], (n,)) for i, n in enumerate(lengths)]
    merged = [torch.full_like(tensor, 7.0) for tensor in expected]
    run("merge_attention", [tensor for part in parts for tensor in part], merged, {})
    for ours, whole_result in zip(together + merged, expected + expected, strict=True):
        torch.testing.assert_close(ours, whole_result, rtol=2e-5, atol=2e-6)


@QUICK
@given(attention_shapes(), st.integers(1, 9), st.integers(0, 10))
def test_decoding_the_last_token_equals_prefill(shape: tuple, tokens: int, window: int):
    """Row t of a windowed prompt attention is decode attention of token t from ``starts`` on."""
    batch, groups, per, dim = shape
    q = randn(1, batch, groups * per, tokens, dim)
    k, v = randn(2, batch, groups, tokens, dim), randn(3, batch, groups, tokens, dim)
    prompt = torch.zeros_like(q)
    run("prefill_attention", [q, k, v], [prompt], {"scale": dim**-0.5, "window": window})
    for last in range(tokens):
        start = max(0, last + 1 - window) if window else 0
        out, _ = decode(q[:, :, last].contiguous(), [k, v], (last + 1,), (start,))
        torch.testing.assert_close(out, prompt[:, :, last], rtol=2e-5, atol=2e-6)


@QUICK
@given(st.integers(1, 4), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_concat_undoes_split(rows: int, columns: list[int]):
    x = randn(0, rows, sum(columns))
    parts = [torch.zeros(rows, n) for n in columns]
    run("split", [x], parts, {})
    back = torch.zeros_like(x)
    run("concat", parts, [back], {})
    assert torch.equal(back, x)


@QUICK
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_from_heads_undoes_to_heads(batch: int, tokens: int, heads: int, dim: int):
    x = randn(0, batch, tokens, heads * dim)
    apart, back = torch.zeros(batch, heads, tokens, dim), torch.zeros_like(x)
    run("to_heads", [x], [apart], {"heads": heads})
    run("from_heads", [apart], [back], {})
    assert torch.equal(back, x)


@QUICK
@given(st.integers(0, 1000), st.integers(1, 50))
def test_rotary_keeps_lengths_and_depends_on_distance_only(position: int, distance: int):
    attributes = {"head_dim": 8, "theta": 10000.0}
    q, k = randn(1, 1, 8), randn(2, 1, 8)

    def turned(x: torch.Tensor, at: int) -> torch.Tensor:
        out = torch.zeros_like(x)
        run("rotary", [x], [out], {**attributes, "position": at})
        return out

    torch.testing.assert_close(turned(q, position).norm(), q.norm(), rtol=1e-5, atol=1e-5)
    near = (turned(q, distance) * turned(k, 0)).sum()
    far = (turned(q, position + distance) * turned(k, position)).sum()
    torch.testing.assert_close(near, far, rtol=1e-3, atol=1e-3)


@QUICK
@given(st.integers(0, 2**16), st.integers(1, 6), st.integers(1, 40))
def test_quantisation_is_off_by_half_a_step_at_most(seed: int, rows: int, columns: int):
    x = randn(seed, rows, columns)
    q, scale, back = torch.zeros(rows, columns, dtype=torch.int8), torch.zeros(rows), torch.zeros(rows, columns)
    run("quantise", [x], [q, scale], {})
    run("dequantise", [q, scale], [back], {})
    assert bool(((back - x).abs() <= scale[:, None] * 0.5001).all())


@QUICK
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.data())
def test_top_k_is_a_stable_sort(levels: list[int], data: st.DataObject):
    k = data.draw(st.integers(1, len(levels)))
    values, ids = torch.zeros(k), torch.zeros(k, dtype=torch.int64)
    run("top_k", [torch.tensor(levels, dtype=torch.float32)], [values, ids], {"k": k})
    expected = sorted(range(len(levels)), key=lambda index: (-levels[index], index))[:k]
    assert ids.tolist() == expected and values.tolist() == [levels[index] for index in expected]


@QUICK
@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=3))
def test_decode_demand_adds_up_over_segments(batch: int, spans: list[tuple[int, int]]):
    """One launch over several segments demands what one launch each demands, but for the query and the result."""
    spans = [(min(span), max(span)) for span in spans]
    q, cache, lse = (
        TensorType((batch, 4, 8), "bf16"),
        TensorType((batch, 2, 64, 8), "bf16"),
        TensorType((batch, 4), "fp32"),
    )
    entry = operation("decode_attention")

    def demand(chosen: list[tuple[int, int]]):
        starts, tokens = (tuple(span[i] for span in chosen) for i in (0, 1))
        return entry.demand(
            [q, *[cache] * (2 * len(chosen))], [q, lse], {"tokens": tokens, "starts": starts, "scale": 1.0}
        )

    whole, parts = demand(spans), [demand([span]) for span in spans]
    assert whole.flop == sum(part.flop for part in parts)
    assert whole.reads[1:] == tuple(read for part in parts for read in part.reads[1:])
    assert whole.reads[1] == (spans[0][1] - spans[0][0]) * batch * 2 * 8 * 2

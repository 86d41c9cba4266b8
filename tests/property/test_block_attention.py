"""However keys are cut into blocks, their partial results merge into attention over all of them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from node.compute.kernels import run
from node.hardware.operations.attention import visible_pairs


@given(
    queries=st.integers(1, 6),
    cuts=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    group=st.integers(1, 3),
    batch=st.integers(1, 2),
    causal=st.booleans(),
    offset=st.integers(-7, 12),
    seed=st.integers(0, 2**16),
)
def test_parts_merge_into_the_whole(queries, cuts, group, batch, causal, offset, seed):
    torch.manual_seed(seed)
    keys, heads, dim = sum(cuts), 2 * group, 4
    q = torch.randn(queries, batch, heads, dim)
    k, v = torch.randn(2, keys, batch, 2, dim).unbind()
    attributes = {"scale": 0.5, "causal": causal, "offset": offset if causal else 0}
    whole, whole_lse = torch.full_like(q, torch.nan), torch.full(q.shape[:3], torch.nan)
    run("block_attention", [q, k.contiguous(), v.contiguous()], [whole, whole_lse], attributes)
    parts, start = [], 0
    for count in cuts:
        out, lse = torch.full_like(q, torch.nan), torch.full(q.shape[:3], torch.nan)
        block = attributes | {"offset": offset - start if causal else 0}
        run("block_attention", [q, k[start : start + count], v[start : start + count]], [out, lse], block)
        parts += [out, lse]
        start += count
    merged, merged_lse = torch.full_like(q, torch.nan), torch.full(q.shape[:3], torch.nan)
    run("merge_attention", parts, [merged, merged_lse], {})
    assert torch.allclose(merged, whole, atol=1e-5) and torch.allclose(merged_lse, whole_lse, atol=1e-5)
    # In place, one after the other, as the schemes do it.
    so_far, so_far_lse = parts[0], parts[1]
    for out, lse in zip(parts[2::2], parts[3::2], strict=True):
        run("merge_attention", [so_far, so_far_lse, out, lse], [so_far, so_far_lse], {})
    assert torch.allclose(so_far, whole, atol=1e-5) and torch.allclose(so_far_lse, whole_lse, atol=1e-5)


@given(queries=st.integers(0, 12), keys=st.integers(0, 12), offset=st.integers(-15, 15))
def test_visible_pairs_are_those_that_counting_finds(queries, keys, offset):
    counted = sum(key <= query + offset for query in range(queries) for key in range(keys))
    assert visible_pairs(queries, keys, True, offset) == counted
    assert visible_pairs(queries, keys, False, offset) == queries * keys

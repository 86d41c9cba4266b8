"""Laws of the training operations that hold for every shape: autograd, inverses, sums in parts."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from node.compute.kernels import run

QUICK = settings(max_examples=50, deadline=None)


def randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@st.composite
def packed(draw: st.DrawFn) -> tuple[torch.Tensor, int, int]:
    """Packed projections (b, t, (h+2g)*d), query heads, key heads."""
    groups, per, dim = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.sampled_from((2, 4, 8)))
    batch, tokens = draw(st.integers(1, 3)), draw(st.integers(1, 7))
    return randn(draw(st.integers(0, 99)), batch, tokens, (groups * per + 2 * groups) * dim), groups * per, groups


def by_heads(qkv: torch.Tensor, heads: int, groups: int) -> tuple[torch.Tensor, ...]:
    batch, tokens, _ = qkv.shape
    parts = qkv.view(batch, tokens, heads + 2 * groups, -1).transpose(1, 2)
    return tuple(part.contiguous() for part in parts.split((heads, groups, groups), 1))


def forward(qkv: torch.Tensor, **attributes: object) -> tuple[torch.Tensor, torch.Tensor]:
    batch, tokens, columns = qkv.shape
    heads, groups = attributes["heads"], attributes["kv_heads"]
    out = torch.zeros(batch, tokens, columns // (heads + 2 * groups) * heads)
    lse = torch.zeros(batch, heads, tokens)
    run("flash_attention", [qkv], [out, lse], attributes)
    return out, lse


@QUICK
@given(packed(), st.integers(0, 8))
def test_packed_attention_equals_that_of_prefill(made: tuple, window: int):
    qkv, heads, groups = made
    q, k, v = by_heads(qkv, heads, groups)
    expected = torch.zeros_like(q)
    run("prefill_attention", [q, k, v], [expected], {"scale": 0.5, "window": window})
    out, _ = forward(qkv, heads=heads, kv_heads=groups, scale=0.5, window=window)
    torch.testing.assert_close(out, expected.transpose(1, 2).reshape(out.shape), rtol=2e-5, atol=2e-6)


@QUICK
@given(packed(), st.integers(0, 8))
def test_attention_backward_is_the_gradient_of_forward(made: tuple, window: int):
    qkv, heads, groups = made
    attributes = {"heads": heads, "kv_heads": groups, "scale": 0.5, "window": window}
    out, lse = forward(qkv, **attributes)
    dout, ours = randn(7, *out.shape), torch.zeros_like(qkv)
    run("flash_attention_backward", [qkv, out, lse, dout], [ours], attributes)
    leaf = qkv.double().requires_grad_()
    q, k, v = by_heads(leaf, heads, groups)
    k, v = (part.repeat_interleave(heads // groups, 1) for part in (k, v))
    back = torch.arange(qkv.shape[1])[:, None] - torch.arange(qkv.shape[1])[None, :]
    seen = (back >= 0) & (back < (window or qkv.shape[1]))
    attended = ((q @ k.transpose(2, 3) * 0.5).masked_fill(~seen, -torch.inf).softmax(-1) @ v).transpose(1, 2)
    attended.reshape(out.shape).backward(dout.double())
    torch.testing.assert_close(ours, leaf.grad.float(), rtol=1e-4, atol=1e-5)


@QUICK
@given(packed(), st.floats(10.0, 1e6))
def test_the_inverse_rotation_undoes_and_is_the_gradient(made: tuple, theta: float):
    qkv, heads, groups = made
    attributes = {"heads": heads, "kv_heads": groups, "theta": theta}
    turned, back, other = torch.zeros_like(qkv), torch.zeros_like(qkv), randn(3, *qkv.shape)
    run("rotary_qkv", [qkv], [turned], attributes)
    run("rotary_qkv", [turned], [back], {**attributes, "inverse": True})
    torch.testing.assert_close(back, qkv, rtol=1e-5, atol=1e-5)
    # Linear, so that the gradient is the transpose: <R x, y> = <x, R' y>.
    run("rotary_qkv", [other], [back], {**attributes, "inverse": True})
    torch.testing.assert_close((turned * other).sum(), (qkv * back).sum(), rtol=1e-3, atol=1e-3)


@QUICK
@given(st.integers(0, 99), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5), st.integers(0, 5))
def test_weight_gradients_of_parts_of_the_rows_add_up(seed: int, rows: int, n: int, k: int, cut: int):
    x, dy, cut = randn(seed, rows, k), randn(seed + 1, rows, n), min(cut, rows)
    whole = [torch.zeros(n, k), torch.zeros(n)]
    run("linear_weight_backward", [x, dy], whole, {})
    sums = [torch.full((n, k), 9.0), torch.full((n,), 9.0)]
    run("linear_weight_backward", [x[:cut], dy[:cut]], sums, {})
    run("linear_weight_backward", [x[cut:], dy[cut:], *sums], sums, {})
    for ours, expected in zip(sums, whole, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@QUICK
@given(st.integers(0, 99), st.integers(1, 6), st.integers(1, 9), st.integers(0, 6))
def test_losses_of_parts_of_the_rows_add_up(seed: int, rows: int, vocab: int, cut: int):
    logits, cut = 5 * randn(seed, rows, vocab), min(cut, rows)
    targets = torch.randint(0, vocab, (rows,), generator=torch.Generator().manual_seed(seed))
    loss, gradient = torch.full((1,), 9.0), logits.clone()
    run("cross_entropy", [logits[:cut], targets[:cut]], [loss, gradient[:cut]], {"scale": 1 / rows})
    run("cross_entropy", [gradient[cut:], targets[cut:], loss], [loss, gradient[cut:]], {"scale": 1 / rows})
    leaf = logits.double().requires_grad_()
    expected = functional.cross_entropy(leaf, targets)
    expected.backward()
    torch.testing.assert_close(loss[0].double(), expected.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, leaf.grad.float(), rtol=1e-4, atol=1e-6)


@QUICK
@given(st.integers(0, 99), st.lists(st.integers(0, 4), min_size=1, max_size=9), st.integers(1, 4))
def test_rows_of_an_embedding_collect_the_gradients_of_their_ids(seed: int, ids: list[int], columns: int):
    dy = randn(seed, len(ids), columns)
    table = torch.full((5, columns), 9.0)
    run("embedding_backward", [dy, torch.tensor(ids)], [table], {})
    for row in range(5):
        of_row = [dy[index] for index, token in enumerate(ids) if token == row]
        expected = sum(of_row) if of_row else torch.zeros(columns)
        torch.testing.assert_close(table[row], expected, rtol=1e-5, atol=1e-6)

"""SparF attention against its algorithm written out token by token."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from node.compute.kernels import run
from node.errors import BadAttribute, NodeError
from node.hardware.operation import TensorType
from node.hardware.operations import operation


def plain_sparf(q, keys, values, mean, channels, keep, scale, recent=0):
    """Algorithm 1 for one query (d) over tokens (n, d): output (d), kept tokens, chosen channels."""
    d = len(q)
    order = sorted(range(d), key=lambda c: -abs(q[c]))[:channels]
    share = sum(abs(q[c]) for c in order) / sum(abs(c) for c in q)
    raw = [scale / math.sqrt(share) * sum(q[c] * key[c] for c in order) for key in keys]
    top = max(raw)
    weights = [math.exp(value - top) for value in raw]
    guess = [weight / sum(weights) for weight in weights]
    forced = set(range(len(keys) - recent, len(keys)))
    ranked = sorted(range(len(keys)), key=lambda t: (t not in forced, -guess[t]))[:keep]
    alpha = sum(guess[t] for t in ranked)
    exact = [scale * float(np.dot(q, keys[t])) for t in ranked]
    top = max(exact)
    exact = [math.exp(value - top) for value in exact]
    attended = sum(weight / sum(exact) * values[t] for weight, t in zip(exact, ranked, strict=True))
    return alpha * attended + (1 - alpha) * mean, set(ranked), set(order)


def launched(heads, groups, dim, sizes, tokens, **attributes):
    """Random operands in the order of the operation, and its outputs."""
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    batch = 2
    q, mean = draw(batch, heads, dim), draw(batch, groups, dim)
    segments = [(draw(batch, groups, size, dim), draw(batch, groups, size, dim)) for size in sizes]
    tail = (draw(batch, groups, 16, dim), draw(batch, groups, 16, dim))
    inputs = [q, mean, torch.tensor([3.0, 5.0])]
    for k, v in segments:
        inputs += [k.transpose(2, 3).contiguous(), k, v]
    out, counts = torch.empty_like(q), torch.empty(2)
    run("sparf_attention", [*inputs, *tail], [out, counts], {"tokens": tuple(tokens), **attributes})
    keys = torch.cat(
        [*(k[:, :, :n] for (k, _), n in zip(segments, tokens, strict=False)), tail[0][:, :, : tokens[-1]]], 2
    )
    values = torch.cat(
        [*(v[:, :, :n] for (_, v), n in zip(segments, tokens, strict=False)), tail[1][:, :, : tokens[-1]]], 2
    )
    return q.numpy(), mean.numpy(), keys.numpy(), values.numpy(), out.numpy(), counts.numpy()


@pytest.mark.parametrize(
    ("heads", "groups", "sizes", "tokens", "recent"),
    [(4, 4, (40, 32), (40, 16, 5), 0), (6, 2, (33,), (33, 0), 4), (2, 1, (), (9,), 2), (4, 2, (48, 32), (0, 32, 1), 1)],
)
def test_output_is_that_of_the_algorithm(heads, groups, sizes, tokens, recent) -> None:
    dim, channels, keep, scale = 16, 3, 6, 0.25
    q, mean, keys, values, out, _ = launched(
        heads, groups, dim, sizes, tokens, channels=channels, keep=keep, scale=scale, recent=recent
    )
    per = heads // groups
    for b, h in np.ndindex(q.shape[:2]):
        group = h // per
        expected, _, _ = plain_sparf(
            q[b, h], keys[b, group], values[b, group], mean[b, group], channels, keep, scale, recent
        )
        np.testing.assert_allclose(out[b, h], expected, atol=2e-5)


def test_with_everything_kept_it_is_dense_attention() -> None:
    q, _, keys, values, out, counts = launched(4, 4, 8, (32,), (32, 3), channels=8, keep=35, scale=0.3)
    scores = np.einsum("bhd,bhtd->bht", q, keys) * 0.3
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    np.testing.assert_allclose(out, np.einsum("bht,bhtd->bhd", weights, values), atol=2e-5)
    # K is stored twice, so keeping everything reads half as much again as dense attention.
    assert (counts[0] - 3) / (counts[1] - 5) == pytest.approx(1.5)


def test_pages_touched_are_counted_by_hand() -> None:
    dim, channels, keep = 16, 2, 3
    q, _, keys, values, _, counts = launched(1, 1, dim, (64,), (64, 4), channels=channels, keep=keep, scale=0.25)
    touched = 0
    for b in range(2):
        _, kept, chosen = plain_sparf(q[b, 0], keys[b, 0], values[b, 0], np.zeros(dim), channels, keep, 0.25)
        touched += 2 * len({t // 16 for t in kept if t < 64})
        touched += math.ceil(64 * 8 / (16 * dim)) * len({c // 8 for c in chosen})
    assert counts[0] == 3 + touched
    assert counts[1] == 5 + 2 * 2 * 4


def test_without_tokens_it_is_the_mean() -> None:
    _, mean, _, _, out, _ = launched(2, 2, 8, (16,), (0, 0), channels=2, keep=2, scale=1.0)
    np.testing.assert_array_equal(out, mean)


def test_a_running_mean_is_the_mean_of_everything() -> None:
    x = torch.randn((2, 3, 10, 4), generator=torch.Generator().manual_seed(1))
    mean, out = torch.full((2, 3, 4), torch.nan), torch.empty(2, 3, 4)
    run("running_mean", [mean, x], [out], {"count": 0, "tokens": 6})
    run("running_mean", [out, x[:, :, 6:].contiguous()], [out], {"count": 6, "tokens": 4})
    torch.testing.assert_close(out, x.mean(2))


def test_a_channel_write_turns_tokens_into_columns_and_leaves_the_rest() -> None:
    source = torch.randn((1, 2, 4, 3), generator=torch.Generator().manual_seed(1))
    cache = torch.full((1, 2, 3, 9), 7.0)
    run("channel_write", [source], [cache], {"position": 5, "tokens": 3})
    torch.testing.assert_close(cache[..., 5:8], source[:, :, :3].transpose(2, 3))
    assert (cache[..., :5] == 7).all()
    assert (cache[..., 8] == 7).all()


def test_demand_counts_pages_by_their_share_and_arithmetic_by_what_is_kept() -> None:
    half = [TensorType(shape, "fp16") for shape in ((1, 4, 8), (1, 4, 8, 64), (1, 4, 64, 8), (1, 4, 16, 8))]
    q, channels, keys, tail = half
    mean, counts = TensorType((1, 4, 8), "fp32"), TensorType((2,), "fp32")
    entry = operation("sparf_attention")
    given = {"tokens": (64, 5), "channels": 2, "keep": 9, "scale": 1.0, "page_share": 0.25}
    operands = [q, mean, counts, channels, keys, keys, tail, tail]
    entry.check(operands, [q, counts], given)
    demand = entry.demand(operands, [q, counts], given)
    assert demand.reads[3:6] == (64 * 4 * 8 * 2 // 4,) * 3
    assert demand.reads[6:] == (5 * 4 * 8 * 2,) * 2
    assert demand.flop == 4 * (2 * 2 * 69 + 6 * 69 + 4 * 9 * 8 + 3 * 8)


@pytest.mark.parametrize(
    "changed",
    [{"tokens": (64,)}, {"tokens": (65, 5)}, {"tokens": (64, 17)}, {"channels": 9}, {"keep": 0}, {"recent": 10},
     {"page_share": 1.5}],
)  # fmt: skip
def test_what_cannot_be_is_refused(changed) -> None:
    q, channels, keys, tail = (
        TensorType(shape, "fp16") for shape in ((1, 4, 8), (1, 4, 8, 64), (1, 4, 64, 8), (1, 4, 16, 8))
    )
    mean, counts = TensorType((1, 4, 8), "fp32"), TensorType((2,), "fp32")
    given = {"tokens": (64, 5), "channels": 2, "keep": 9, "scale": 1.0, **changed}
    with pytest.raises((BadAttribute, NodeError)):
        operation("sparf_attention").check([q, mean, counts, channels, keys, keys, tail, tail], [q, counts], given)

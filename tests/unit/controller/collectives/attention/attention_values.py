"""The slow obvious twin of the executors: a plan on numpy arrays, one op after the other, in a chosen order."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from controller.collectives.attention.call import AttentionCall
from controller.collectives.attention.layouts import Layout
from controller.collectives.attention.verify import exact, inputs_of, seeded_sequence
from controller.plan.ops import Buffer, Kernel, Plan, Transfer, View
from node.hardware.operation import ITEM_BYTES

Pick = Callable[[list[int]], int]


def earliest(ready: list[int]) -> int:
    return ready[0]


def latest(ready: list[int]) -> int:
    return ready[-1]


def largest_error(call: AttentionCall, plan: Plan, layout: Layout, pick: Pick = earliest) -> float:
    """Largest difference from attention on one device, after the ops of `plan` in double precision."""
    sequence = seeded_sequence(call)
    given = [inputs_of(call, layout, rank, sequence) for rank in range(call.world_size)]
    memory: dict[Buffer, np.ndarray] = {}

    def values(view: View) -> np.ndarray:
        buffer = view.buffer
        if buffer not in memory:
            content = given[call.group.devices.index(buffer.device)].get(buffer.name)
            memory[buffer] = np.full(buffer.nbytes // ITEM_BYTES[buffer.dtype], np.nan)
            if content is not None:
                assert content.shape == buffer.shape
                memory[buffer][:] = content.ravel()
        start = view.offset_bytes // ITEM_BYTES[buffer.dtype]
        assert start + prod(view.shape) <= len(memory[buffer]), f"{view} leaves its buffer"
        return memory[buffer][start : start + prod(view.shape)].reshape(view.shape)

    waits = [set(after) for after in plan.after]
    followers: list[list[int]] = [[] for _ in plan.ops]
    for index, after in enumerate(plan.after):
        for earlier in after:
            followers[earlier].append(index)
    ready = [index for index, after in enumerate(waits) if not after]
    done = 0
    while ready:
        index = pick(ready)
        ready.remove(index)
        done += 1
        op = plan.ops[index]
        if isinstance(op, Transfer):
            assert op.sources[0].buffer.device != op.destinations[0].buffer.device
            values(op.destinations[0])[...] = values(op.sources[0])
        else:
            assert isinstance(op, Kernel)
            assert {view.buffer.device for view in (*op.inputs, *op.outputs)} == {op.device}
            with np.errstate(invalid="ignore"):  # of what a missing edge lets it read too early
                results = KERNELS[op.op](*(values(view).copy() for view in op.inputs), **op.attributes)
            for view, result in zip(op.outputs, results, strict=True):
                values(view)[...] = result
        for follower in followers[index]:
            waits[follower].discard(index)
            if not waits[follower]:
                ready.append(follower)
    assert done == len(plan.ops), "a cycle"
    expected = exact(call, sequence)
    return max(
        float(np.abs(values(call.out(rank).view()) - expected[layout.positions(call, rank)]).max(initial=0.0))
        if np.isfinite(values(call.out(rank).view())).all()
        else np.inf
        for rank in range(call.world_size)
    )


def block_attention(q, k, v, scale, causal, offset):
    out, lse = np.zeros_like(q), np.zeros(q.shape[:3])
    per = q.shape[2] // k.shape[2]
    for t, b, h in np.ndindex(q.shape[:3]):
        seen = max(0, min(len(k), t + offset + 1)) if causal else len(k)
        scores = scale * k[:seen, b, h // per] @ q[t, b, h]
        lse[t, b, h] = np.logaddexp.reduce(scores) if seen else -np.inf
        out[t, b, h] = np.exp(scores - lse[t, b, h]) @ v[:seen, b, h // per] if seen else 0.0
    return out, lse


def merge_attention(*parts):
    lse = np.logaddexp.reduce(np.stack(parts[1::2]))
    return sum(np.exp(part - lse)[..., None] * out for part, out in zip(parts[1::2], parts[0::2], strict=True)), lse


KERNELS = {
    "block_attention": block_attention,
    "merge_attention": merge_attention,
    "cast": lambda x: (x,),
}

"""The slow obvious twin of the executors: a plan on numpy arrays, one op after the other, in a chosen order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from controller.collectives.call import Call
from controller.collectives.measure.calls import initial_content
from controller.collectives.measure.verify import seeded_input, wrong_count
from controller.plan.ops import Buffer, Kernel, Plan, Transfer, View

Pick = Callable[[list[int]], int]


def earliest(ready: list[int]) -> int:
    return ready[0]


def latest(ready: list[int]) -> int:
    return ready[-1]


def wrong_elements(call: Call, plan: Plan, pick: Pick = earliest) -> list[int]:
    """Wrong elements of every rank after the ops of `plan`, each chosen among those whose edges allow it."""
    inputs = [seeded_input(call, rank) for rank in range(call.world_size)]
    memory: dict[Buffer, np.ndarray] = {}

    def values(view: View) -> np.ndarray:
        buffer = view.buffer
        if buffer not in memory:
            rank = call.group.devices.index(buffer.device)
            memory[buffer] = initial_content(call, rank, buffer, inputs[rank]).copy()
        start = view.offset_bytes // call.item_bytes
        assert start + view.shape[0] <= buffer.shape[0], f"{view} leaves its buffer"
        return memory[buffer][start : start + view.shape[0]]

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
            with np.errstate(over="ignore"):
                total = sum(values(view).astype(_wide(call.dtype)) for view in op.sources)
                total = _rounded(np.asarray(total), call.dtype) if len(op.sources) > 1 else values(op.sources[0])
            for destination in op.destinations:
                values(destination)[:] = total
        else:
            assert isinstance(op, Kernel) and op.op == "reduce" and op.attributes == {"kind": "sum"}
            with np.errstate(over="ignore"):
                total = sum(values(view).astype(_wide(call.dtype)) for view in op.inputs)
                values(op.outputs[0])[:] = _rounded(np.asarray(total), call.dtype)
        for follower in followers[index]:
            waits[follower].discard(index)
            if not waits[follower]:
                ready.append(follower)
    assert done == len(plan.ops), "a cycle"
    return [wrong_count(call, rank, values(call.output(rank)), inputs) for rank in range(call.world_size)]


def _wide(dtype: str) -> type | str:
    return np.float32 if dtype in ("bf16", "fp16") else {"fp32": "float32"}.get(dtype, dtype)


def _rounded(total: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bf16":
        bits = total.astype(np.float32).view(np.uint32)
        return ((bits + np.uint32(0x7FFF) + (bits >> 16 & np.uint32(1))) & np.uint32(0xFFFF0000)).view(np.float32)
    return total

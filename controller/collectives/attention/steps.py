"""What every scheme does with a block: attend to it, send it, and add what came out to the result so far.

A step of a rank begins when the one before has ended: what it sends in a step waits for what sender and receiver have
computed, sent and received in the step before, as in the libraries, which post both at its start and wait for both at
its end.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.attention.call import AttentionCall, keys_of, values_of
from controller.collectives.attention.layouts import AttentionBlock, Layout
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, View

CONNECTION = "attention.0"
"""Channel of every message."""

Part = tuple[View, View]
"""A partial result of some tokens and its log-sum-exp."""


class Order:
    """Which ops of the step before a rank waits for, and which belong to the one at hand."""

    def __init__(self, world_size: int) -> None:
        self._before: list[tuple[int, ...]] = [()] * world_size
        self._now: list[list[int]] = [[] for _ in range(world_size)]

    def next_step(self) -> None:
        """Ends a step; a rank that did nothing in it still waits for what it did before."""
        self._before = [tuple(now) or before for now, before in zip(self._now, self._before, strict=True)]
        self._now = [[] for _ in self._now]

    def add(self, op: int, *ranks: int) -> None:
        """Counts an op as one of the step at hand of these ranks."""
        for rank in ranks:
            self._now[rank].append(op)

    def before(self, *ranks: int) -> tuple[int, ...]:
        """The ops of the step before, of these ranks."""
        return tuple(op for rank in ranks for op in self._before[rank])


def send(
    build: PlanBuilder,
    call: AttentionCall,
    order: Order,
    ranks: tuple[int, int],
    source: Buffer | View,
    destination: Buffer | View,
    label: str,
) -> None:
    """Moves something from one rank to another, no faster than a connection allows, once both are in this step."""
    op = build.transfer(
        source,
        destination,
        rate_limit_bytes_per_s=call.connection_bytes_per_s,
        label=label,
        connection=CONNECTION,
        after=order.before(*ranks),
    )
    order.add(op, *ranks)


def step_label(what: str, step: int) -> str:
    """How ops are named, so that a report can tell steps apart; `step_of` reads it."""
    return f"{what} {step}"


def step_of(label: str) -> tuple[str, int]:
    """What an op does, and in which step."""
    what, _, step = label.rpartition(" ")
    return what, int(step)


def attend(
    build: PlanBuilder,
    call: AttentionCall,
    rank: int,
    block: AttentionBlock,
    q: Buffer,
    kv: Buffer,
    part: Part,
    step: int,
) -> int:
    """`rank` computes a block of the queries in `q` over the keys and values in `kv`, both in its own memory."""
    return build.kernel(
        "block_attention",
        call.group.devices[rank],
        [q.rows(*block.queries), keys_of(kv, *block.keys), values_of(kv, *block.keys)],
        part,
        label=step_label("attention", step),
        scale=call.scale,
        causal=block.causal,
        offset=block.offset,
    )


def attend_own(build: PlanBuilder, call: AttentionCall, layout: Layout, rank: int) -> int:
    """Step 0: a rank's own queries over its own keys start its result; with one rank, they are all of it."""
    block = layout.block(call, rank, rank)
    assert block is not None, "a token sees itself"
    q, kv, total, lse = call.q(rank), call.kv(rank), call.total(rank), call.lse(rank)
    if not call.accumulates or call.world_size == 1:
        return attend(build, call, rank, block, q, kv, (call.out(rank).view(), lse.view()), 0)
    part = call.q(rank, "part0")
    attend(build, call, rank, block, q, kv, (part.view(), lse.view()), 0)
    return build.kernel("cast", call.group.devices[rank], [part], [total], label=step_label("merge", 0))


def part_of(call: AttentionCall, rank: int, name: str, block: AttentionBlock) -> Part:
    """Room in the memory of `rank` for the partial result of a block."""
    count = block.queries[1] - block.queries[0]
    return call.q(rank, name).rows(0, count), call.lse(rank, f"{name}.lse").rows(0, count)


def merge(build: PlanBuilder, call: AttentionCall, rank: int, block: AttentionBlock, part: Part, step: int) -> int:
    """Adds a partial result of some of the rank's queries to its result so far, in place."""
    so_far = call.total(rank).rows(*block.queries), call.lse(rank).rows(*block.queries)
    return build.kernel(
        "merge_attention",
        call.group.devices[rank],
        [*so_far, *part],
        so_far,
        label=step_label("merge", step),
    )


def finish(build: PlanBuilder, call: AttentionCall, ranks: Sequence[int], step: int) -> None:
    """Rounds what was summed in fp32 to the type of the result."""
    if not call.accumulates or call.world_size == 1:
        return
    for rank in ranks:
        build.kernel(
            "cast", call.group.devices[rank], [call.total(rank)], [call.out(rank)], label=step_label("merge", step)
        )

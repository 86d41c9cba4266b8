"""Keys and values go round, queries stay: what ring, striped and zigzag attention share."""

from __future__ import annotations

from controller.collectives.attention.call import AttentionCall
from controller.collectives.attention.layouts import Layout
from controller.collectives.attention.steps import Order, attend, attend_own, finish, merge, part_of, send, step_label
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan


def circulate(call: AttentionCall, layout: Layout, name: str) -> Plan:
    """n steps; in each every rank attends to the keys and values that it has while it sends them to the next rank.

    Arriving keys and values alternate between two buffers, so that a rank receives while it computes and sends.

    Raises:
        BadCall: a sequence that the layout cannot cut evenly.
    """
    call.divided_by(layout.parts * call.world_size, name)
    build = PlanBuilder(f"{name} {call.tokens} tokens {call.dtype}")
    size = call.world_size
    order = Order(size)
    for step in range(size):
        for rank in range(size if step < size - 1 else 0):
            following = (rank + 1) % size
            kept, arriving = _held(call, rank, step), _held(call, following, step + 1)
            send(build, call, order, (rank, following), kept, arriving, step_label("send", step))
        for rank in range(size):
            if step == 0:
                order.add(attend_own(build, call, layout, rank), rank)
                continue
            block = layout.block(call, rank, (rank - step) % size)
            if block is not None:
                part = part_of(call, rank, "part0", block)
                attend(build, call, rank, block, call.q(rank), _held(call, rank, step), part, step)
                order.add(merge(build, call, rank, block, part, step), rank)
        order.next_step()
    finish(build, call, range(size), size - 1)
    return build.plan()


def _held(call: AttentionCall, rank: int, step: int) -> Buffer:
    """Where the keys and values lie that `rank` attends to in a step: its own, then two buffers in turn."""
    return call.kv(rank) if step == 0 else call.kv(rank, f"kv{step % 2}")

"""TokenRing: keys and values stay, queries go round, and partial results go straight back to whom they belong.

Paper: TokenRing (the README and code of github.com/ACA-Lab-SJTU/token-ring).
Follows: in step s every rank sends the queries that it has to the next rank, sends the partial result and log-sum-exp
    of step s - 1 to the owner of those queries, s - 1 ranks back, and computes its block, all at once; then it joins
    what it received. A last exchange at distance n - 1 ends the call. Tokens lie as in zigzag attention, as in the
    code for causal attention.
Differs: a partial result has only the rows that its block has: the late chunk's where the early one sees nothing.
Checked by: tests/unit/controller/collectives/attention/test_conformance.py, tests/paper/test_tokenring.py.
"""

from __future__ import annotations

from controller.collectives.attention.call import AttentionCall
from controller.collectives.attention.layouts import MIRRORED, AttentionBlock
from controller.collectives.attention.steps import Order, attend, attend_own, finish, merge, part_of, send, step_label
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan

LAYOUT = MIRRORED


def token_ring(call: AttentionCall) -> Plan:
    """Queries forwards, partial results backwards.

    Raises:
        BadCall: a sequence that the layout cannot cut evenly.
    """
    call.divided_by(LAYOUT.parts * call.world_size, "token_ring")
    build = PlanBuilder(f"token_ring {call.tokens} tokens {call.dtype}")
    size = call.world_size
    order = Order(size)
    for step in range(size):
        for rank in range(size if step < size - 1 else 0):
            following = (rank + 1) % size
            kept, arriving = _held(call, rank, step), _held(call, following, step + 1)
            send(build, call, order, (rank, following), kept, arriving, step_label("send q", step))
        if step > 1:
            _give_back(build, call, order, step)
        for rank in range(size):
            if step == 0:
                order.add(attend_own(build, call, LAYOUT, rank), rank)
            else:
                block = _block(call, rank, step)
                part = part_of(call, rank, f"part{step % 2}", block)
                order.add(attend(build, call, rank, block, _held(call, rank, step), call.kv(rank), part, step), rank)
        if step > 1:
            _join(build, call, order, step)
        order.next_step()
    if size > 1:
        # Beyond the last attention: what a report calls step n.
        _give_back(build, call, order, size)
        _join(build, call, order, size)
    finish(build, call, range(size), size)
    return build.plan()


def _held(call: AttentionCall, rank: int, step: int) -> Buffer:
    """Where the queries lie that `rank` computes with in a step: its own, then two buffers in turn."""
    return call.q(rank) if step == 0 else call.q(rank, f"q{step % 2}")


def _block(call: AttentionCall, rank: int, step: int) -> AttentionBlock:
    """What the queries that `rank` has in a step see of its keys."""
    block = LAYOUT.block(call, (rank - step) % call.world_size, rank)
    assert block is not None, "mirrored chunks see something of every rank"
    return block


def _give_back(build: PlanBuilder, call: AttentionCall, order: Order, step: int) -> None:
    """Every rank sends what it computed in the step before to the owner of the queries."""
    distance = step - 1
    for rank in range(call.world_size):
        block = _block(call, rank, distance)
        owner = (rank - distance) % call.world_size
        mine = part_of(call, rank, f"part{distance % 2}", block)
        theirs = part_of(call, owner, f"back{distance % 2}", block)
        for source, destination in zip(mine, theirs, strict=True):
            send(build, call, order, (rank, owner), source, destination, step_label("send out", step))


def _join(build: PlanBuilder, call: AttentionCall, order: Order, step: int) -> None:
    """Every rank adds what came back in this step."""
    distance = step - 1
    for owner in range(call.world_size):
        block = _block(call, (owner + distance) % call.world_size, distance)
        back = part_of(call, owner, f"back{distance % 2}", block)
        order.add(merge(build, call, owner, block, back, step), owner)

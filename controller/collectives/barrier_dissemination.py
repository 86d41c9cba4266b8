"""barrier: every rank learns that every rank has come.

Paper: Hensgen, Finkel and Manber, Two algorithms for barrier synchronization, IJPP 17(1), 1988.
Follows: in round k rank r tells rank r + 2^k, ceil(log2 n) rounds.
Differs: it tells every flag that it knows, where one bit would do, so that the result can be proven: at the end each
    rank holds the flag of every other.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part


def dissemination(exchange: Exchange) -> None:
    """Flags lie by distance: element i of rank r is the flag of rank r - i, so that what a rank knows is one range."""
    size = exchange.world_size
    for rank in range(size):
        exchange.copy_own(exchange.inputs[rank], part(exchange.outputs[rank], 0, 1))
    distance = 1
    told_by: dict[int, int] = {}
    while distance < size:
        told = min(distance, size - distance)
        this_round: dict[int, int] = {}
        for rank in range(size):
            receiver = (rank + distance) % size
            known, room = (
                part(exchange.outputs[rank], 0, told),
                part(exchange.outputs[receiver], distance, distance + told),
            )
            # A rank goes to its next round when it was told in this one, even where it has less to pass on.
            after = [told_by[rank]] if rank in told_by else []
            this_round[receiver] = exchange.send(known, room, "flags", after=after)
        told_by = this_round
        distance *= 2

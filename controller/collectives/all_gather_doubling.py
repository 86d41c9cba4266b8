"""all_gather by recursive doubling.

Paper: Thakur, Rabenseifner and Gropp, IJHPCA 19(1), 2005.
Follows: with p ranks, p a power of two, log2 p exchanges with partners at doubling distance, each of everything known
    so far. With other numbers the first ranks are folded in pairs before and unfolded after.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.collectives.folding import folding
from controller.plan.ranges import Range


def doubling(exchange: Exchange) -> None:
    """Partners differ in one bit of their index, the lowest first."""
    outputs = [exchange.outputs[rank] for rank in range(exchange.world_size)]
    chunks = exchange.whole_chunks()
    for rank, own in enumerate(chunks):
        exchange.copy_own(exchange.inputs[rank], part(outputs[rank], *own))
    active, folded = folding(exchange.world_size)

    def send(sender: int, receiver: int, known: Range, label: str) -> None:
        if known[0] < known[1]:
            exchange.send(part(outputs[sender], *known), part(outputs[receiver], *known), label)

    known: dict[int, Range] = {rank: chunks[rank] for rank in active}
    for away, stays in folded:
        send(away, stays, chunks[away], "fold: send")
        known[stays] = (chunks[stays][0], chunks[away][1])
    mask = 1
    while mask < len(active):
        for index, rank in enumerate(active):
            send(rank, active[index ^ mask], known[rank], "double: send")
        before = dict(known)
        for index, rank in enumerate(active):
            other = before[active[index ^ mask]]
            known[rank] = min(before[rank][0], other[0]), max(before[rank][1], other[1])
        mask <<= 1
    for away, stays in folded:
        start, stop = chunks[away]
        send(stays, away, (0, start), "unfold: send")
        send(stays, away, (stop, exchange.count), "unfold: send")

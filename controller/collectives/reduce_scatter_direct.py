"""reduce_scatter with every chunk sent to its owner at once.

Paper: Chan et al., Collective communication: theory, practice, and experience, CCPE 19(13), 2007: the direct exchange
    of all blocks, on a network where everybody reaches everybody.
Follows: one step: rank r sends chunk j to rank j, beginning with that of rank r + 1, and adds what it gets in one go.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.plan.ranges import even_ranges


def direct(exchange: Exchange) -> None:
    """Every rank to every other, without an order; pieces are added as they come."""
    size = exchange.world_size
    if size == 1:
        exchange.copy_own(exchange.inputs[0], exchange.outputs[0])
        return
    chunks = exchange.whole_chunks()
    rooms = {
        (rank, peer): exchange.scratch(rank, f"from{peer}", chunks[rank][1] - chunks[rank][0])
        for rank in range(size)
        for peer in range(size)
        if peer != rank and chunks[rank][0] < chunks[rank][1]
    }
    for piece in range(exchange.pieces):
        cut = [even_ranges(stop - start, exchange.pieces)[piece] for start, stop in chunks]
        for distance in range(1, size):
            for rank in range(size):
                owner = (rank + distance) % size
                low, high = cut[owner]
                if low < high:
                    first = chunks[owner][0]
                    source = part(exchange.inputs[rank], first + low, first + high)
                    exchange.send(source, part(rooms[owner, rank], low, high), "reduce: send")
        for rank in range(size):
            low, high = cut[rank]
            if low < high:
                own = part(exchange.inputs[rank], chunks[rank][0] + low, chunks[rank][0] + high)
                arrived = [part(rooms[rank, (rank - distance) % size], low, high) for distance in range(1, size)]
                total = part(exchange.outputs[rank], low, high)
                exchange.add(rank, [own, *arrived], total)

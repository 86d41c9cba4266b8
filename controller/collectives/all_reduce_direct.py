"""all_reduce in two hops: every chunk sent to its owner at once, its sum sent to everybody at once.

Paper: Rabenseifner, ICCS 2004, for the split into reduce-scatter and all-gather; Chan et al., CCPE 19(13), 2007, for
    the direct exchange, on a network where everybody reaches everybody.
Follows: rank r sends chunk i of its data to rank i, which adds up what came in one go and sends the sum to all.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.plan.ranges import even_ranges

HOPS = 2
"""Messages that follow each other."""


def direct(exchange: Exchange) -> None:
    """Every rank to every other, twice; pieces of the chunks follow each other."""
    ranks, chunks = range(exchange.world_size), exchange.whole_chunks()
    inputs, outputs, others = exchange.inputs, exchange.outputs, exchange.world_size - 1
    if not others:
        exchange.copy_own(inputs[0], outputs[0])
        return
    rooms = {
        (owner, sender): exchange.scratch(owner, f"from{sender}", stop - start)
        for owner, (start, stop) in enumerate(chunks)
        for sender in ranks
        if sender != owner and start < stop
    }
    for piece in range(exchange.pieces):
        cut = [even_ranges(stop - start, exchange.pieces, start)[piece] for start, stop in chunks]
        owned = [owner for owner in ranks if cut[owner][0] < cut[owner][1]]
        arrived = {
            (owner, sender): part(room, cut[owner][0] - chunks[owner][0], cut[owner][1] - chunks[owner][0])
            for (owner, sender), room in rooms.items()
            if cut[owner][0] < cut[owner][1]
        }
        for (owner, sender), room in arrived.items():
            exchange.send(part(inputs[sender], *cut[owner]), room, "reduce: send", at_once=others)
        for owner in owned:
            own = part(inputs[owner], *cut[owner])
            operands = [own if sender == owner else arrived[owner, sender] for sender in ranks]
            exchange.add(owner, operands, part(outputs[owner], *cut[owner]))
        for owner in owned:
            for receiver in ranks:
                if receiver != owner:
                    total, target = (part(outputs[rank], *cut[owner]) for rank in (owner, receiver))
                    exchange.send(total, target, "gather: send", at_once=others)

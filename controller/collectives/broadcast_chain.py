"""broadcast down a chain, in pieces that follow each other.

Paper: Chan et al., CCPE 19(13), 2007: pipelined broadcast.
Follows: every rank passes each piece on as soon as it has it.
Differs: a rank's pieces are sent in order, one at a time.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.plan.ranges import even_ranges


def chain(exchange: Exchange) -> None:
    """From the root on, in the order of the ranks."""
    size = exchange.world_size
    exchange.copy_own(exchange.inputs[exchange.root], exchange.outputs[exchange.root])
    last: dict[int, int] = {}
    for start, stop in even_ranges(exchange.count, exchange.pieces):
        if start == stop:
            continue
        for index in range(size - 1):
            sender, receiver = (exchange.root + index) % size, (exchange.root + index + 1) % size
            source = exchange.inputs[sender] if sender == exchange.root else exchange.outputs[sender]
            after = [last[sender]] if sender in last else []
            last[sender] = exchange.send(
                part(source, start, stop),
                part(exchange.outputs[receiver], start, stop),
                "broadcast: send",
                after=after,
            )

"""all_gather with every chunk sent to everybody at once.

Paper: Chan et al., CCPE 19(13), 2007: the direct exchange of all blocks.
Follows: one step: rank r sends its chunk to every other rank, beginning with rank r + 1.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part


def direct(exchange: Exchange) -> None:
    """Every rank to every other, without an order."""
    size = exchange.world_size
    chunks = exchange.whole_chunks()
    for rank, own in enumerate(chunks):
        exchange.copy_own(exchange.inputs[rank], part(exchange.outputs[rank], *own))
    for distance in range(1, size):
        for rank, own in enumerate(chunks):
            if own[0] < own[1]:
                receiver = exchange.outputs[(rank + distance) % size]
                exchange.send(exchange.inputs[rank], part(receiver, *own), "gather: send")

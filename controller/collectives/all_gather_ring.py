"""all_gather over one ring.

Paper: Chan et al., CCPE 19(13), 2007: the bucket algorithm.
Follows: n - 1 steps of 1/n of the data each, to the next rank.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.collectives.rings import ring_gather


def ring(exchange: Exchange) -> None:
    """All ranks in order."""
    ranks = range(exchange.world_size)
    outputs = [exchange.outputs[rank] for rank in ranks]
    for rank, (start, stop) in enumerate(exchange.whole_chunks()):
        exchange.copy_own(exchange.inputs[rank], part(outputs[rank], start, stop))
    for step in range(exchange.world_size - 1):
        for piece in range(exchange.pieces):
            ring_gather(exchange, ranks, exchange.chunks(piece), outputs, step)

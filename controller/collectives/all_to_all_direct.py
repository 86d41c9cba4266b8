"""all_to_all with every block sent at once.

Paper: the point-to-point loop that NCCL's documentation gives for all-to-all (grouped ncclSend and ncclRecv).
Follows: all blocks start together and share the links; rank r begins with rank r + 1.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.plan.ops import View


def block(exchange: Exchange, sender: int, receiver: int) -> tuple[View, View]:
    """Where the block from `sender` to `receiver` lies at either."""
    start, stop = exchange.whole_chunks()[receiver]
    size = stop - start
    return part(exchange.inputs[sender], start, stop), part(
        exchange.outputs[receiver], sender * size, (sender + 1) * size
    )


def direct(exchange: Exchange) -> None:
    """Every rank to every other, without an order."""
    size = exchange.world_size
    for rank in range(size):
        exchange.copy_own(*block(exchange, rank, rank))
    for distance in range(1, size):
        for rank in range(size):
            source, destination = block(exchange, rank, (rank + distance) % size)
            if source.shape[-1] != 0:
                exchange.send(source, destination, "block")

"""all_to_all in rounds, in each of which every rank sends one block and receives one.

Paper: Thakur, Rabenseifner and Gropp, IJHPCA 19(1), 2005: pairwise exchange for long messages.
Follows: in round d rank r sends to rank r + d and receives from rank r - d; n - 1 rounds.
Differs: a rank starts its next round when its own block has left and the block for it has come, without a barrier.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.all_to_all_direct import block
from controller.collectives.exchange import Exchange


def pairwise(exchange: Exchange) -> None:
    """Round d: to the rank d further on."""
    size = exchange.world_size
    for rank in range(size):
        exchange.copy_own(*block(exchange, rank, rank))
    done: dict[int, list[int]] = {rank: [] for rank in range(size)}
    for distance in range(1, size):
        this_round: dict[int, list[int]] = {rank: [] for rank in range(size)}
        for rank in range(size):
            other = (rank + distance) % size
            source, destination = block(exchange, rank, other)
            if source.shape[-1] != 0:
                op = exchange.send(source, destination, "block", after=[*done[rank], *done[other]])
                this_round[rank].append(op)
                this_round[other].append(op)
        done = {rank: this_round[rank] or done[rank] for rank in range(size)}

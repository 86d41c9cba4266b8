"""all_to_all in rounds, in each of which every rank sends one block and receives one.

Paper: Thakur, Rabenseifner and Gropp, IJHPCA 19(1), 2005: pairwise exchange for long messages.
Follows: in round d rank r sends to rank r + d and receives from rank r - d; n - 1 rounds.
Differs: a rank starts its next round when its own block has left and the block for it has come, without a barrier.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.all_to_all_direct import block
from controller.collectives.call import Call
from controller.collectives.rings import copy_own
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan


def pairwise(call: Call) -> Plan:
    """Round d: to the rank d further on."""
    build = PlanBuilder(f"all_to_all pairwise {call.count} {call.dtype}")
    size = call.world_size
    for rank in range(size):
        copy_own(build, *block(call, rank, rank))
    done: dict[int, list[int]] = {rank: [] for rank in range(size)}
    for distance in range(1, size):
        this_round: dict[int, list[int]] = {rank: [] for rank in range(size)}
        for rank in range(size):
            other = (rank + distance) % size
            source, destination = block(call, rank, other)
            if source.shape != (0,):
                op = build.transfer(source, destination, label="block", after=[*done[rank], *done[other]])
                this_round[rank].append(op)
                this_round[other].append(op)
        done = {rank: this_round[rank] or done[rank] for rank in range(size)}
    return build.plan()

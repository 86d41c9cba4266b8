"""all_to_all with every block sent at once.

Paper: the point-to-point loop that NCCL's documentation gives for all-to-all (grouped ncclSend and ncclRecv).
Follows: all blocks start together and share the links; rank r begins with rank r + 1.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call, part
from controller.collectives.rings import copy_own
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan, View


def block(call: Call, sender: int, receiver: int) -> tuple[View, View]:
    """Where the block from `sender` to `receiver` lies at either."""
    start, stop = call.whole_chunks()[receiver]
    size = stop - start
    return part(call.input(sender), start, stop), part(call.output(receiver), sender * size, (sender + 1) * size)


def direct(call: Call) -> Plan:
    """Every rank to every other, without an order."""
    build = PlanBuilder(f"all_to_all direct {call.count} {call.dtype}")
    size = call.world_size
    for rank in range(size):
        copy_own(build, *block(call, rank, rank))
    for distance in range(1, size):
        for rank in range(size):
            source, destination = block(call, rank, (rank + distance) % size)
            if source.shape != (0,):
                build.transfer(source, destination, label="block")
    return build.plan()

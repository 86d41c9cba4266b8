"""all_gather with every chunk sent to everybody at once.

Paper: Chan et al., CCPE 19(13), 2007: the direct exchange of all blocks.
Follows: one step: rank r sends its chunk to every other rank, beginning with rank r + 1.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call, part
from controller.collectives.rings import copy_own
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan


def direct(call: Call) -> Plan:
    """Every rank to every other, without an order."""
    build = PlanBuilder(f"all_gather direct {call.count} {call.dtype}")
    size = call.world_size
    chunks = call.whole_chunks()
    for rank, own in enumerate(chunks):
        copy_own(build, call.input(rank), part(call.output(rank), *own))
    for distance in range(1, size):
        for rank, own in enumerate(chunks):
            if own[0] < own[1]:
                receiver = call.output((rank + distance) % size)
                build.transfer(call.input(rank), part(receiver, *own), label="gather: send")
    return build.plan()

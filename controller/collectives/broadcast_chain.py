"""broadcast down a chain, in pieces that follow each other.

Paper: Chan et al., CCPE 19(13), 2007: pipelined broadcast.
Follows: every rank passes each piece on as soon as it has it.
Differs: a rank's pieces are sent in order, one at a time.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call, part
from controller.collectives.rings import copy_own
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan
from controller.plan.ranges import even_ranges


def chain(call: Call) -> Plan:
    """From the root on, in the order of the ranks."""
    build = PlanBuilder(f"broadcast chain {call.count} {call.dtype}")
    size = call.world_size
    copy_own(build, call.input(call.root), call.output(call.root))
    last: dict[int, int] = {}
    for start, stop in even_ranges(call.count, call.pieces):
        if start == stop:
            continue
        for index in range(size - 1):
            sender, receiver = (call.root + index) % size, (call.root + index + 1) % size
            source = call.input(sender) if sender == call.root else call.output(sender)
            after = [last[sender]] if sender in last else []
            last[sender] = build.transfer(
                part(source, start, stop),
                part(call.output(receiver), start, stop),
                label="broadcast: send",
                after=after,
            )
    return build.plan()

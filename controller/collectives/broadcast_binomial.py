"""broadcast down a binomial tree.

Paper: Thakur, Rabenseifner and Gropp, IJHPCA 19(1), 2005: broadcast of short messages.
Follows: in round k every rank that has the data sends it to the rank 2^k further on, ceil(log2 n) rounds in all;
    a rank sends to one other at a time.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call, part
from controller.collectives.rings import copy_own
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan
from controller.plan.ranges import even_ranges


def binomial(call: Call) -> Plan:
    """Counted from the root on, in rounds of doubling distance."""
    build = PlanBuilder(f"broadcast binomial {call.count} {call.dtype}")
    size = call.world_size
    for start, stop in even_ranges(call.count, call.pieces):
        if start == stop:
            continue
        given = part(call.input(call.root), start, stop)
        copy_own(build, given, part(call.output(call.root), start, stop))
        distance = 1
        last: dict[int, int] = {}
        while distance < size:
            for index in range(min(distance, size - distance)):
                sender, receiver = (call.root + index) % size, (call.root + index + distance) % size
                # The root sends what it was given, so that nobody waits for its own copy.
                source = given if sender == call.root else part(call.output(sender), start, stop)
                after = [last[sender]] if sender in last else []
                last[sender] = build.transfer(
                    source, part(call.output(receiver), start, stop), label="broadcast: send", after=after
                )
            distance *= 2
    return build.plan()

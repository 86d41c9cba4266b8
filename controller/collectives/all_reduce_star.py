"""all_reduce through one rank: everybody sends it all, it sums once and sends the sum to everybody.

Paper: TPI-LLM, arXiv 2410.00531, section 3.2.
Follows: workers push to the master, the master sums all at once and pushes back.
Differs: nothing.
Checked by: tests/paper/test_tpi_llm.py (8 tau), tests/unit/controller/collectives/test_alpha_beta.py, the
    conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call, part
from controller.collectives.rings import copy_own
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan
from controller.plan.ranges import even_ranges


def star(call: Call) -> Plan:
    """The call's root is the master."""
    build = PlanBuilder(f"all_reduce star {call.count} {call.dtype}")
    master = call.root
    workers = [rank for rank in range(call.world_size) if rank != master]
    if not workers:
        copy_own(build, call.input(master), call.output(master))
        return build.plan()
    for start, stop in even_ranges(call.count, call.pieces):
        if start == stop:
            continue
        arrived = [part(call.scratch(master, f"scratch{rank}"), start, stop) for rank in workers]
        for rank, room in zip(workers, arrived, strict=True):
            build.transfer(part(call.input(rank), start, stop), room, label="reduce: send")
        own, total = part(call.input(master), start, stop), part(call.output(master), start, stop)
        build.kernel("reduce", own.buffer.device, [own, *arrived], [total], kind="sum")
        for rank in workers:
            build.transfer(total, part(call.output(rank), start, stop), label="broadcast: send")
    return build.plan()

"""all_reduce through one rank: everybody sends it all, it sums once and sends the sum to everybody.

Paper: TPI-LLM, arXiv 2410.00531, section 3.2.
Follows: workers push to the master, the master sums all at once and pushes back.
Differs: nothing.
Checked by: tests/paper/test_tpi_llm.py (8 tau), tests/unit/controller/collectives/test_alpha_beta.py, the
    conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.plan.ranges import even_ranges


def star(exchange: Exchange) -> None:
    """The root is the master."""
    master = exchange.root
    workers = [rank for rank in range(exchange.world_size) if rank != master]
    if not workers:
        exchange.copy_own(exchange.inputs[master], exchange.outputs[master])
        return
    for start, stop in even_ranges(exchange.count, exchange.pieces):
        if start == stop:
            continue
        arrived = [part(exchange.scratch(master, f"scratch{rank}"), start, stop) for rank in workers]
        for rank, room in zip(workers, arrived, strict=True):
            exchange.send(part(exchange.inputs[rank], start, stop), room, "reduce: send")
        own, total = part(exchange.inputs[master], start, stop), part(exchange.outputs[master], start, stop)
        exchange.add(master, [own, *arrived], total)
        for rank in workers:
            exchange.send(total, part(exchange.outputs[rank], start, stop), "broadcast: send")

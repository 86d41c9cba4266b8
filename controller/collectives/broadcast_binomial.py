"""broadcast down a binomial tree.

Paper: Thakur, Rabenseifner and Gropp, IJHPCA 19(1), 2005: broadcast of short messages.
Follows: in round k every rank that has the data sends it to the rank 2^k further on, ceil(log2 n) rounds in all;
    a rank sends to one other at a time.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.plan.ranges import even_ranges


def binomial(exchange: Exchange) -> None:
    """Counted from the root on, in rounds of doubling distance."""
    size = exchange.world_size
    for start, stop in even_ranges(exchange.count, exchange.pieces):
        if start == stop:
            continue
        given = part(exchange.inputs[exchange.root], start, stop)
        exchange.copy_own(given, part(exchange.outputs[exchange.root], start, stop))
        distance = 1
        last: dict[int, int] = {}
        while distance < size:
            for index in range(min(distance, size - distance)):
                sender, receiver = (exchange.root + index) % size, (exchange.root + index + distance) % size
                # The root sends what it was given, so that nobody waits for its own copy.
                source = given if sender == exchange.root else part(exchange.outputs[sender], start, stop)
                after = [last[sender]] if sender in last else []
                last[sender] = exchange.send(
                    source, part(exchange.outputs[receiver], start, stop), "broadcast: send", after=after
                )
            distance *= 2

"""One ring for each rank of a host, so that every NIC carries one.

Paper: none; NCCL, src/graph/search.cc and connect.cc: its rings enter a host by one NIC after the other.
Follows: ring number k enters a host at local rank k and leaves it at the rank before, or the other way round in every
    second host, so that both ends of a message between hosts have the same place in their hosts, and so the same rail.
Differs: each ring carries an equal part of every chunk; NCCL weighs channels. With an odd number of hosts the message
    that closes a ring goes from one place to another.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.exchange import Exchange
from controller.plan.ranges import Range, even_ranges


def host_rings(exchange: Exchange) -> list[tuple[int, ...]]:
    """The ranks of each ring in order; one ring inside of one host.

    Raises:
        BadCall: hosts with different numbers of ranks.
    """
    hosts = exchange.group.equal_hosts("rings")
    local = len(hosts[0]) if len(hosts) > 1 else 1
    found: list[tuple[int, ...]] = []
    for first in range(local):
        order: list[int] = []
        for number, host in enumerate(hosts):
            turned = [*host[first:], *host[:first]]
            order += reversed(turned) if number % 2 else turned
        found.append(tuple(order))
    return found


def parts_of(chunks: Sequence[Range], rings: int, number: int) -> tuple[Range, ...]:
    """What ring `number` carries of each chunk."""
    return tuple(even_ranges(stop - start, rings, start)[number] for start, stop in chunks)

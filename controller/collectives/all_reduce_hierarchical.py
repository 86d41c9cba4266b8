"""all_reduce in levels, one for each level of bandwidth: reduce-scatters from the inside out, all-gathers back.

Paper: Jia et al., Highly scalable deep learning training system with mixed-precision, arXiv 1807.11205, section 4.2, in
    the form with all ranks of a host at work (two levels: hosts, between hosts). Dash et al., arXiv 2501.04266, on
    Frontier (three levels: two GCDs of a package at 200 GB/s, eight of a node at 50 to 100 GB/s, then the network).
Follows: rings of the innermost level reduce-scatter the data, those of the next the chunk that is left to each rank,
    and so on; all-gathers go back the same way. Each level carries as many times fewer bytes than the one inside as
    that has ranks: between hosts a rank sends 2 (hosts - 1) / hosts of its chunk, not of all data.
Differs: Dash et al. give each level a state of training (weights, gradients, optimizer); here one all-reduce uses all
    levels. A package is two ranks that follow each other in their host, as Frontier numbers its GCDs; where a host has
    an odd number of ranks there are no packages and two levels are left.
Checked by: test_hierarchical.py and test_three_level.py in tests/unit/controller/collectives, the conformance suite.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.exchange import Exchange, part
from controller.collectives.rings import ring_gather, ring_reduce
from controller.plan.ranges import Range, even_ranges

Level = Sequence[Sequence[int]]
"""Rings of equal length in which every rank is once."""

PACKAGE = 2
"""Ranks of a package."""


def hierarchical(exchange: Exchange) -> None:
    """Inside of every host, then between hosts; each must have as many ranks as the others.

    Raises:
        BadCall: hosts with different numbers of ranks.
    """
    hosts = exchange.group.equal_hosts("hierarchical")
    by_levels(exchange, [hosts, _across(hosts)], whole_levels=1)


def three_level(exchange: Exchange) -> None:
    """Inside of every package, among the packages of a host, then between hosts.

    Raises:
        BadCall: hosts with different numbers of ranks.
    """
    hosts = exchange.group.equal_hosts("three_level")
    size = PACKAGE if len(hosts[0]) % PACKAGE == 0 else 1
    packages = [[host[first : first + size] for first in range(0, len(host), size)] for host in hosts]
    inner = [package for host in packages for package in host]
    among = [ring for host in packages for ring in _across(host)]
    by_levels(exchange, [inner, among, _across(hosts)])


def by_levels(exchange: Exchange, levels: Sequence[Level], whole_levels: int = 0) -> None:
    """all_reduce over rings within rings.

    Args:
        exchange: the collective.
        levels: from the inside out.
        whole_levels: levels after which what is left to a rank is cut into pieces; 0 for cutting the data first.
    """
    if exchange.world_size == 1:
        exchange.copy_own(exchange.inputs[0], exchange.outputs[0])
        return
    ranks, outputs = range(exchange.world_size), exchange.outputs
    scratch = [exchange.scratch(rank) for rank in ranks]
    pieces = [_owned(exchange, levels, whole_levels, piece) for piece in range(exchange.pieces)]
    partial = exchange.inputs
    for level, rings in enumerate(levels):
        sums = [[part(outputs[rank], *owned[level][rank]) for rank in ranks] for owned in pieces]
        for step in range(len(rings[0]) - 1):
            for owned, totals in zip(pieces, sums, strict=True):
                for ring in rings:
                    ring_reduce(exchange, ring, owned[level], partial, scratch, totals, step)
        if len(rings[0]) > 1:
            # From here on ranks add up what the level inside has summed.
            partial = outputs
    for level, rings in reversed(list(enumerate(levels))):
        for step in range(len(rings[0]) - 1):
            for owned in pieces:
                for ring in rings:
                    ring_gather(exchange, ring, owned[level], outputs, step)


def _across(inner: Level) -> list[list[int]]:
    """One ring for each place: the ranks that have it in the rings inside."""
    return [[ring[place] for ring in inner] for place in range(len(inner[0]))]


def _owned(exchange: Exchange, levels: Sequence[Level], whole_levels: int, piece: int) -> list[list[Range]]:
    """What each rank owns after each level: its part of what it owned before. Empty ranges are not sent."""
    whole: Range = (0, exchange.count)
    held = [whole if whole_levels else _part_of(whole, exchange.pieces, piece)] * exchange.world_size
    found: list[list[Range]] = []
    for number, rings in enumerate(levels, start=1):
        after = list(held)
        for ring in rings:
            for place, rank in enumerate(ring):
                after[rank] = _part_of(held[rank], len(ring), place)
        held = [_part_of(each, exchange.pieces, piece) for each in after] if number == whole_levels else after
        found.append(held)
    return found


def _part_of(held: Range, parts: int, number: int) -> Range:
    return even_ranges(held[1] - held[0], parts, held[0])[number]

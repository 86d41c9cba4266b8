"""all_reduce in three levels: inside of a package, inside of a host, between hosts, and back.

Paper: Dash et al., arXiv 2501.04266: one level of partition for each level of bandwidth of a Frontier node, two GCDs of
    a package at 200 GB/s, eight of a node at 50 to 100 GB/s, then the network.
Follows: a ring reduce-scatter in every pair leaves a rank half of the data, one among the pairs of a host leaves it
    1 / (ranks of a host), and one between hosts its share of that; three all-gathers go back the same way. Most bytes
    stay within a pair, and each level further out carries as many times fewer as the one inside has ranks.
Differs: the paper gives each level a state of training (weights, gradients, optimizer); here one all-reduce uses all
    three. A pair is two ranks that follow each other in their host, as Frontier numbers its GCDs; where a host has an
    odd number of ranks there are no pairs and two levels are left.
Checked by: tests/unit/controller/collectives/test_three_level.py, the conformance suite.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.call import Call, part
from controller.collectives.rings import copy_own, ring_gather, ring_reduce
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan
from controller.plan.ranges import Range, even_ranges

PACKAGE = 2
"""Ranks of a package."""


def three_level(call: Call) -> Plan:
    """Hosts as the group has them; each must have as many ranks as the others.

    Raises:
        BadCall: hosts with different numbers of ranks.
    """
    hosts = call.group.equal_hosts("three_level")
    local = len(hosts[0])
    build = PlanBuilder(f"all_reduce three-level {call.count} {call.dtype}")
    ranks = range(call.world_size)
    inputs, outputs = [call.input(rank) for rank in ranks], [call.output(rank) for rank in ranks]
    if call.world_size == 1:
        copy_own(build, inputs[0], outputs[0])
        return build.plan()
    scratch = [call.scratch(rank) for rank in ranks]
    levels = _levels(hosts, PACKAGE if local % PACKAGE == 0 else 1)
    owned = [_owned(call, levels, piece) for piece in range(call.pieces)]
    partial = inputs
    for level, rings in enumerate(levels):
        for step in range(len(rings[0]) - 1):
            for chunks in owned:
                sums = [part(outputs[rank], *chunks[level][rank]) for rank in ranks]
                for ring in rings:
                    ring_reduce(build, ring, chunks[level], partial, scratch, sums, step)
        if len(rings[0]) > 1:
            partial = outputs
    for level, rings in reversed(list(enumerate(levels))):
        for step in range(len(rings[0]) - 1):
            for chunks in owned:
                for ring in rings:
                    ring_gather(build, ring, chunks[level], outputs, step)
    return build.plan()


def _levels(hosts: Sequence[Sequence[int]], package: int) -> list[list[list[int]]]:
    """The rings of every level, from the inside out: of packages, of one place in the packages of a host, of hosts."""
    local = len(hosts[0])
    pairs = [list(host[first : first + package]) for host in hosts for first in range(0, local, package)]
    across = [list(host[place::package]) for host in hosts for place in range(package)]
    between = [[host[index] for host in hosts] for index in range(local)]
    return [pairs, across, between]


def _owned(call: Call, levels: Sequence[Sequence[Sequence[int]]], piece: int) -> list[list[Range]]:
    """What each rank owns after each level: its part of what it owned before. Empty ranges are not sent."""
    whole = even_ranges(call.count, call.pieces)[piece]
    held: list[Range] = [whole] * call.world_size
    found: list[list[Range]] = []
    for rings in levels:
        after = list(held)
        for ring in rings:
            for place, rank in enumerate(ring):
                start, stop = held[rank]
                after[rank] = even_ranges(stop - start, len(ring), start)[place]
        held = after
        found.append(held)
    return found

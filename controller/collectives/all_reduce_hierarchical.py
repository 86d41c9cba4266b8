"""all_reduce in two levels: inside of every host, between hosts, inside again.

Paper: Jia et al., Highly scalable deep learning training system with mixed-precision, arXiv 1807.11205, section 4.2, in
    the form with all ranks of a host at work.
Follows: a ring reduce-scatter in each host leaves every rank one chunk; ranks of one index in their hosts all-reduce it
    over a ring of their own, side by side; a ring all-gather in each host ends it. Between hosts each rank sends
    2 (hosts - 1) / hosts of its chunk, not of all data.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_hierarchical.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call, part
from controller.collectives.rings import copy_own, ring_gather, ring_reduce
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan
from controller.plan.ranges import Range, even_ranges


def hierarchical(call: Call) -> Plan:
    """Hosts as the group has them; each must have as many ranks as the others.

    Raises:
        BadCall: hosts with different numbers of ranks.
    """
    hosts = call.group.equal_hosts("hierarchical")
    local = len(hosts[0])
    build = PlanBuilder(f"all_reduce hierarchical {call.count} {call.dtype}")
    ranks = range(call.world_size)
    inputs, outputs = [call.input(rank) for rank in ranks], [call.output(rank) for rank in ranks]
    if call.world_size == 1:
        copy_own(build, inputs[0], outputs[0])
        return build.plan()
    scratch = [call.scratch(rank) for rank in ranks]
    inner = [_by_rank(hosts, _inner(call, local, piece)) for piece in range(call.pieces)]
    # What the hosts add up is the input where a host has one rank, and otherwise its ranks' sums.
    partial = inputs if local == 1 else outputs
    for step in range(local - 1):
        for chunks in inner:
            sums = [part(outputs[rank], *chunks[rank]) for rank in ranks]
            for host in hosts:
                ring_reduce(build, host, chunks, inputs, scratch, sums, step)
    outer = [_outer(hosts, chunks) for chunks in inner]
    for step in range(len(hosts) - 1):
        for chunks in outer:
            sums = [part(outputs[rank], *chunks[rank]) for rank in ranks]
            for index in range(local):
                peers = [host[index] for host in hosts]
                ring_reduce(build, peers, chunks, partial, scratch, sums, step)
    for step in range(len(hosts) - 1):
        for chunks in outer:
            for index in range(local):
                ring_gather(build, [host[index] for host in hosts], chunks, outputs, step)
    for step in range(local - 1):
        for chunks in inner:
            for host in hosts:
                ring_gather(build, host, chunks, outputs, step)
    return build.plan()


def _inner(call: Call, local: int, piece: int) -> list[Range]:
    """Piece number `piece` of the chunk of every index in a host."""
    return [even_ranges(stop - start, call.pieces, start)[piece] for start, stop in even_ranges(call.count, local)]


def _by_rank(hosts: tuple[tuple[int, ...], ...], of_index: list[Range]) -> list[Range]:
    """The same ranges in every host, by rank."""
    found = {rank: of_index[index] for ranks in hosts for index, rank in enumerate(ranks)}
    return [found[rank] for rank in range(len(found))]


def _outer(hosts: tuple[tuple[int, ...], ...], inner: list[Range]) -> list[Range]:
    """What each rank owns of its chunk between the hosts."""
    found: dict[int, Range] = {}
    for number, ranks in enumerate(hosts):
        for rank in ranks:
            start, stop = inner[rank]
            found[rank] = even_ranges(stop - start, len(hosts), start)[number]
    return [found[rank] for rank in range(len(inner))]

"""all_to_all in two levels: first inside of every host, to who sends on, then one message between each two hosts.

Paper: PXN, NVIDIA, Doubling all2all performance with NCCL 2.12 (2022): blocks gather on the GPU whose place in the
    host is that of their destination, and leave through its NIC alone.
Follows: rank i of a host gives rank j of the same host every block for the j-th ranks of other hosts; rank j sends each
    other host's j-th rank the blocks of all its host in one message, where direct sends one for each pair of ranks.
Differs: blocks arrive in place where the ranks of a host follow each other, and in one message for each run of such
    ranks otherwise. Nothing is packed by a kernel: each block is copied to its place by its own transfer.
Checked by: tests/unit/controller/collectives/test_all_to_all_hierarchical.py, the conformance suite.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.all_to_all_direct import block
from controller.collectives.call import Call, part
from controller.collectives.rings import copy_own
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan


def hierarchical(call: Call) -> Plan:
    """Hosts as the group has them; each must have as many ranks as the others.

    Raises:
        BadCall: hosts with different numbers of ranks.
    """
    hosts = call.group.equal_hosts("hierarchical", "direct")
    local = len(hosts[0])
    build = PlanBuilder(f"all_to_all hierarchical {call.count} {call.dtype}")
    chunks = call.whole_chunks()
    for number, host in enumerate(hosts):
        for other in (*hosts[number + 1 :], *hosts[:number]):
            for place, receiver in enumerate(other):
                _gather_and_send(build, call, host, place, receiver, chunks[receiver][1] - chunks[receiver][0])
    for host in hosts:
        for distance in range(local):
            for place, sender in enumerate(host):
                receiver = host[(place + distance) % local]
                source, destination = block(call, sender, receiver)
                if sender == receiver:
                    copy_own(build, source, destination)
                elif source.shape != (0,):
                    build.transfer(source, destination, label="block")
    return build.plan()


def _gather_and_send(build: PlanBuilder, call: Call, host: Sequence[int], place: int, receiver: int, size: int) -> None:
    """Every block of `host` for one rank elsewhere, over the rank of the host that has its place."""
    if not size:
        return
    carrier = host[place]
    if len(host) == 1:
        build.transfer(*block(call, carrier, receiver), label="between")
        return
    room = call.scratch(carrier, f"for{receiver}", size * len(host))
    for index, sender in enumerate(host):
        source = block(call, sender, receiver)[0]
        build.transfer(source, part(room, index * size, (index + 1) * size), label="gather")
    for first, count in _runs(host):
        output = part(call.output(receiver), host[first] * size, (host[first] + count) * size)
        build.transfer(part(room, first * size, (first + count) * size), output, label="between")


def _runs(host: Sequence[int]) -> list[tuple[int, int]]:
    """(place of the first, how many) of every run of ranks that follow each other."""
    found: list[tuple[int, int]] = []
    first = 0
    for place in range(1, len(host) + 1):
        if place == len(host) or host[place] != host[place - 1] + 1:
            found.append((first, place - first))
            first = place
    return found

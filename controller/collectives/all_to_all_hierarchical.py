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
from controller.collectives.exchange import Exchange, part


def hierarchical(exchange: Exchange) -> None:
    """Hosts as the group has them; each must have as many ranks as the others.

    Raises:
        BadCall: hosts with different numbers of ranks.
    """
    hosts = exchange.group.equal_hosts("hierarchical", "direct")
    local = len(hosts[0])
    chunks = exchange.whole_chunks()
    for number, host in enumerate(hosts):
        for other in (*hosts[number + 1 :], *hosts[:number]):
            for place, receiver in enumerate(other):
                _gather_and_send(exchange, host, place, receiver, chunks[receiver][1] - chunks[receiver][0])
    for host in hosts:
        for distance in range(local):
            for place, sender in enumerate(host):
                receiver = host[(place + distance) % local]
                source, destination = block(exchange, sender, receiver)
                if sender == receiver:
                    exchange.copy_own(source, destination)
                elif source.shape[-1] != 0:
                    exchange.send(source, destination, "block")


def _gather_and_send(exchange: Exchange, host: Sequence[int], place: int, receiver: int, size: int) -> None:
    """Every block of `host` for one rank elsewhere, over the rank of the host that has its place."""
    if not size:
        return
    carrier = host[place]
    if len(host) == 1:
        exchange.send(*block(exchange, carrier, receiver), "between")
        return
    room = exchange.scratch(carrier, f"for{receiver}", size * len(host))
    for index, sender in enumerate(host):
        source, target = block(exchange, sender, receiver)[0], part(room, index * size, (index + 1) * size)
        if sender == carrier:
            exchange.copy(source, target, "gather")
        else:
            exchange.send(source, target, "gather")
    for first, count in _runs(host):
        output = part(exchange.outputs[receiver], host[first] * size, (host[first] + count) * size)
        exchange.send(part(room, first * size, (first + count) * size), output, "between")


def _runs(host: Sequence[int]) -> list[tuple[int, int]]:
    """(place of the first, how many) of every run of ranks that follow each other."""
    found: list[tuple[int, int]] = []
    first = 0
    for place in range(1, len(host) + 1):
        if place == len(host) or host[place] != host[place - 1] + 1:
            found.append((first, place - first))
            first = place
    return found

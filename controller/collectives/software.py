"""What calls of a library cost inside of a plan, from the protocols that a topology declares.

A call that is measured sees a topology of its own (`protocol.as_seen`). Inside of a plan of other work the devices stay
what they are: the call starts with a delay on every rank, for its start and the software share of its hops, and its
messages are held to the protocol's rate.
Not modelled: the channels keep no multiprocessors from other kernels.
Source: NVIDIA NCCL, src/graph/tuning.cc, for what a protocol is: a start, a time per hop, a rate.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.exchange import PLAIN, Software
from controller.collectives.protocol import protocols_of
from controller.collectives.table import BUS_FACTORS
from controller.topology.graph import route
from controller.topology.schema import Topology


def software_of(topology: Topology, devices: Sequence[str], hops: int) -> tuple[Software, ...]:
    """What ranks can choose among: the protocols that no algorithm has for itself, or plain copies.

    Args:
        topology: declares the protocols.
        devices: of the ranks.
        hops: messages of the algorithm that follow each other.
    """
    if len(devices) < 2:
        return (PLAIN,)
    wire_s = route(topology, devices[0], devices[1]).latency_s
    found = []
    for protocol in protocols_of(topology):
        if not protocol.algorithms:
            hop_s = 0.0 if protocol.hop_s is None else max(protocol.hop_s - wire_s, 0.0)
            start_s = protocol.base_s + hops * hop_s
            rate = protocol.rate_bytes_per_s or 0.0
            found.append(Software(protocol.name, start_s, rate, protocol.own_bytes_per_s))
    return tuple(found) or (PLAIN,)


def fastest(candidates: Sequence[Software], sent_bytes: float) -> Software:
    """The one that starts a rank and sends `sent_bytes` of it soonest, as a library chooses from its tables."""

    def about_s(software: Software) -> float:
        return software.start_s + (sent_bytes / software.bytes_per_s if software.bytes_per_s else 0.0)

    return min(candidates, key=about_s)


class Library:
    """What the calls of a group cost in a plan: for each, the protocol that is fastest for its size.

    Rings are what collectives of a script take unless they are told otherwise, so that n ranks are n - 1 hops apart,
    and an all-reduce goes round twice.
    """

    def __init__(self, topology: Topology, devices: Sequence[str]) -> None:
        """Args are the cluster, which declares the protocols, and the devices of the ranks."""
        self._topology, self._devices = topology, tuple(devices)
        self._candidates: dict[int, tuple[Software, ...]] = {}

    def call(self, collective: str, nbytes: float) -> Software:
        """The protocol of one call.

        Args:
            collective: its name in the table.
            nbytes: of the longer side of one rank [bytes].
        """
        ranks = len(self._devices)
        hops = (2 if collective == "all_reduce" else 1) * (ranks - 1)
        if hops not in self._candidates:
            self._candidates[hops] = software_of(self._topology, self._devices, hops)
        return fastest(self._candidates[hops], BUS_FACTORS[collective].of(ranks) * nbytes)


def all_reduced_bytes(nbytes: float, world_size: int) -> float:
    """What a rank sends in an all-reduce of `nbytes` that moves as little as it can [bytes]."""
    return 2 * nbytes * (world_size - 1) / world_size

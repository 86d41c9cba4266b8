"""A group of equal dies as one of them sees it: what it sends, to whom, and when it has heard from all.

All dies do the same at the same time, so one die's operations and messages are executed and stand for all: its port is
as busy as every port, and a fabric that blocks nothing has no other bound. The dies of another host are one receiver
each, since the sender's port is what bounds them. `tests` compare it with the all-to-all of all dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.collectives.group import first_ranks
from controller.plan.ops import Buffer, View
from controller.plan.script import Script
from controller.plan.value import Place
from controller.topology.schema import Topology

FLAG_BYTES = 512
"""A flag with a count, and the size of the latencies in CloudMatrix384's table 1 [bytes]."""
VECTOR_CORES = 48
"""Of a die: as many flags are on their way at once (CloudMatrix384, arXiv 2506.12708, section 3)."""


@dataclass(frozen=True, slots=True)
class DieGroup:
    """One die and those that it exchanges with.

    Attributes:
        place: memory of the die.
        peers: (memory, number of dies that it stands for).
        size: dies of the group.
    """

    place: Place
    peers: tuple[tuple[Place, int], ...]
    size: int

    def exchange(self, s: Script, sent: Buffer, label: str, after: Sequence[int]) -> list[int]:
        """The bytes of `sent` go out, evenly over all dies of the group.

        Returns:
            The ops after which everything has left, and by symmetry has come.
        """
        ended, at = list[int](), 0.0
        for place, dies in self.peers:
            begin, at = round(at), at + sent.nbytes * dies / self.size
            if round(at) > begin:
                (value,) = s.transfer(
                    (View(sent, begin, (round(at) - begin,)),), (place,), label, connection=label, after=after
                )  # fmt: skip
                s.drop(value)  # type: ignore[arg-type]
                ended.append(s.count - 1)
        return ended

    def flags(self, s: Script, told: Buffer, label: str, after: Sequence[int], *, a_peer: bool) -> list[int]:
        """What tells the peers that all has come: a flag each, one core's after another, or one behind the last block.

        Args:
            s: takes the ops.
            told: the flag.
            label: of the ops.
            after: ops that they follow.
            a_peer: each die tells each peer; else a counter at the receiver is added to behind every block.
        """
        rounds = -(-(self.size - 1) // VECTOR_CORES) if a_peer else 1
        far = self.peers[-1][0]
        for _ in range(rounds):
            (value,) = s.transfer((told,), (far,), label, connection=label, after=after)
            s.drop(value)  # type: ignore[arg-type]
            after = (s.count - 1,)
        return list(after)


def die_group(topology: Topology, size: int) -> DieGroup:
    """The first `size` dies of a topology, as the first of them sees them."""
    return group_of(topology, first_ranks(topology, size).devices)


def group_of(topology: Topology, devices: Sequence[str]) -> DieGroup:
    """These devices, as the first of them sees them."""
    first, tier = devices[0], next(iter(topology.devices[devices[0]].spec.tiers))
    host = topology.devices[first].host
    near = [(Place(name, tier), 1) for name in devices[1:] if topology.devices[name].host == host]
    far: dict[str, list[str]] = {}
    for name in devices:
        if topology.devices[name].host != host:
            far.setdefault(topology.devices[name].host, []).append(name)
    return DieGroup(
        Place(first, tier), (*near, *((Place(names[0], tier), len(names)) for names in far.values())), len(devices)
    )  # fmt: skip

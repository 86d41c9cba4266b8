"""What pooled memory costs to read: blocks of KV caches to a die, and weights when an instance starts or switches.

Over UB a die reads the DRAM of any host; over the VPC plane blocks go to the DRAM of the die's own host first, and over
UB from there. Blocks in flash come from the block storage of their hosts over VPC into DRAM. Weights are blocks, too:
cached ones are read from pooled DRAM by every die at once; cold ones come out of object storage before that.
Source: arXiv 2506.12708, section 4.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.errors import BadTopology
from controller.execute.virtual import VirtualRun
from controller.plan.ops import Buffer
from controller.plan.script import Script
from controller.serving.clusters.pdc_store import StoredRun
from controller.topology.schema import Topology

BUCKET_BYTES_PER_S = 2.5e9
"""Object storage, a bucket (section 4.4) [bytes/s]."""
UB, VPC = "ub", "vpc"


class CacheTransport:
    """Reads of pooled memory, executed once for every number of blocks.

    Attributes:
        plane: ``ub`` or ``vpc``.
        servers: CPUs whose DRAM is pooled; one a host.
        loaded_bytes: of blocks that were read.
    """

    def __init__(
        self, topology: Topology, off_ub: Topology, servers: Sequence[str], dies: Sequence[str], block_bytes: int,
        plane: str,
    ) -> None:  # fmt: skip
        """Nothing is read.

        Args:
            topology: of the supernode; off_ub: the same where CPUs have the VPC plane alone.
            servers: by host.
            dies: that read; the first one stands for all.
            block_bytes: of a block.
            plane: between servers and dies.
        """
        self.plane, self.servers, self.loaded_bytes = plane, tuple(servers), 0
        self._all_servers, self._dies, self._die = self.servers, tuple(dies), dies[0]
        self._topology, self._off_ub, self._block_bytes = topology, off_ub, block_bytes
        self._declared, self._down = (topology, off_ub), (frozenset[str](), frozenset[str]())
        self._own_cpu = self._cpu_beside(self._die)
        if not self._own_cpu:
            raise BadTopology(
                f"{self._die} of topology {topology.name!r} has no CPU on its host to read pooled memory with"
            )
        self._storage = {each.host: each.name for each in topology.of_kind("csd")}
        self._memo: dict[tuple[int, int], float] = {}

    def reroute(self, gone: frozenset[str], down_links: frozenset[str]) -> None:
        """Reads take the servers, dies and links that are left."""
        if (gone, down_links) == self._down:
            return
        self._down = gone, down_links
        self._topology, self._off_ub = (without_links(each, down_links) for each in self._declared)
        self._memo.clear()
        left = [server for server in self._all_servers if server not in gone]
        dies = [die for die in self._dies if die not in gone and self._cpu_beside(die, gone)]
        if left and dies:
            self.servers, self._die = tuple(left), dies[0]
            self._own_cpu = self._cpu_beside(self._die, gone)

    def _cpu_beside(self, die: str, gone: frozenset[str] = frozenset()) -> str:
        """A CPU of the host of a die; "" for none."""
        devices = self._declared[0].devices
        own = (each.name for each in self._declared[0].of_kind("cpu") if each.host == devices[die].host)
        return next((name for name in own if name not in gone), "")

    def load_s(self, found: StoredRun) -> float:
        """Time of reading stored blocks [s]."""
        dram, flash = (sum(count for _, count in runs) for runs in (found.from_dram, found.from_flash))
        self.loaded_bytes += (dram + flash) * self._block_bytes
        key = dram, flash
        if key not in self._memo:
            self._memo[key] = self._flash_s(flash) + self._dram_s(dram + flash)
        return self._memo[key]

    def _spread(self, blocks: int) -> list[tuple[str, int]]:
        """Blocks over the servers, as evenly as hashes fall on average."""
        count = min(blocks, len(self.servers))
        return [(self.servers[at], blocks // count + (at < blocks % count)) for at in range(count)]

    def _flash_s(self, blocks: int) -> float:
        if not blocks:
            return 0.0
        moves = []
        for server, count in self._spread(blocks):
            storage = self._storage.get(self._topology.devices[server].host)
            if storage is None:
                raise BadTopology(f"the host of {server} has no block storage; write --cluster-option flash_gb=0")
            moves.append(((storage, "flash"), (server, "dram"), count * self._block_bytes))
        return moved_s(self._topology, moves)

    def _dram_s(self, blocks: int) -> float:
        if not blocks:
            return 0.0
        spread = [(server, count * self._block_bytes) for server, count in self._spread(blocks)]
        if self.plane == UB:
            return moved_s(self._topology, [((server, "dram"), (self._die, "hbm"), size) for server, size in spread])
        far = [((server, "dram"), (self._own_cpu, "dram"), size) for server, size in spread if server != self._own_cpu]
        total = sum(size for _, size in spread)
        last_s = moved_s(self._topology, [((self._own_cpu, "dram"), (self._die, "hbm"), total)])
        return (moved_s(self._off_ub, far) if far else 0.0) + last_s


def moved_s(
    topology: Topology, moves: Sequence[tuple[tuple[str, str], tuple[str, str], int]], rate_bytes_per_s: float = 0.0
) -> float:  # fmt: skip
    """Time of moves that begin together, (device, tier) to (device, tier), bytes each [s]."""
    run, s = VirtualRun(topology), Script("moves")
    for at, (source, to, nbytes) in enumerate(moves):
        here, there = (
            Buffer(device, tier, f"moved{at}.{side}", "uint8", (max(1, nbytes),))
            for (device, tier), side in ((source, "from"), (to, "to"))
        )
        for buffer in (here, there):
            run.place(buffer, written=True)
        s.move(here.view(), there.view(), "block", rate_limit_bytes_per_s=rate_bytes_per_s)
    (done,) = run.advance([run.submit(s.plan()).number])
    return done.end_at - done.submitted_at


def switch_s(topology: Topology, dies: Sequence[str], die_bytes: int) -> float:
    """Time until every die of the first host of an instance has its weights out of the DRAM of that host [s]."""
    host = topology.devices[dies[0]].host
    own = [die for die in dies if topology.devices[die].host == host]
    cpus = [each.name for each in topology.of_kind("cpu") if each.host == host]
    if not cpus:
        raise BadTopology(f"host {host} of topology {topology.name!r} has no CPU whose DRAM could cache weights")
    return moved_s(
        topology,
        [((cpus[at * len(cpus) // len(own)], "dram"), (die, "hbm"), die_bytes) for at, die in enumerate(own)],
    )


def cold_s(topology: Topology, servers: Sequence[str], model_bytes: int) -> float:
    """Time of a model from a bucket of object storage into pooled DRAM, over the block storage's port of a host [s]."""
    storage = {each.host: each.name for each in topology.of_kind("csd")}
    server = servers[0]
    source = storage.get(topology.devices[server].host)
    if source is None:
        raise BadTopology(f"the host of {server} has no block storage to stand for the way of object storage")
    # One server of all: its part of the model at its part of the bucket's rate.
    share = len(servers)
    return moved_s(
        topology, [((source, "flash"), (server, "dram"), model_bytes // share)], BUCKET_BYTES_PER_S / share
    )  # fmt: skip


def without_links(topology: Topology, names: frozenset[str]) -> Topology:
    """The topology without links that are down."""
    return replace(topology, links=tuple(each for each in topology.links if each.name not in names))

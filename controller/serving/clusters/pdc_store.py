"""EMS: blocks of KV caches by content, over the DRAM of many hosts by consistent hashing, with a flash tier behind it.

Follows: arXiv 2506.12708, section 4.4: keys are hashes of prefixes, so that equal prefixes are stored once; each server
has a share of a ring; DRAM evicts what was used longest ago to flash, and flash forgets it.
A server that leaves takes its blocks with it, and its share of the ring goes to the next ones: no other key moves.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from controller.errors import BadWorkload

POINTS = 64
"""Of a server on the ring."""


def _point(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


@dataclass(eq=False, slots=True)
class CacheServer:
    """Memory of one host.

    Attributes:
        name: of the device.
        dram_blocks, flash_blocks: that it has room for.
        dram, flash: content hashes, the one used longest ago first.
    """

    name: str
    dram_blocks: int
    flash_blocks: int
    dram: OrderedDict[int, None] = field(default_factory=OrderedDict)
    flash: OrderedDict[int, None] = field(default_factory=OrderedDict)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """The longest run of a prompt's first blocks that the store has.

    Attributes:
        blocks: of the prompt.
        from_dram, from_flash: by server.
    """

    blocks: int
    from_dram: tuple[tuple[str, int], ...]
    from_flash: tuple[tuple[str, int], ...]


class BlockStore:
    """Blocks over servers.

    Attributes:
        servers: by name; left: those that are gone.
        asked_blocks, hit_blocks, lost_blocks: so far.
    """

    def __init__(self, servers: Sequence[CacheServer]) -> None:
        """Empty.

        Raises:
            BadWorkload: a server without room for one block.
        """
        for server in servers:
            if server.dram_blocks < 1:
                raise BadWorkload(
                    f"cache server {server.name} has less DRAM than one block; write --cluster-option "
                    f"cache_block=N with fewer tokens, or a larger --cluster-option cache_share=SHARE"
                )
        self.servers = {server.name: server for server in servers}
        self.left: dict[str, CacheServer] = {}
        self.asked_blocks = self.hit_blocks = self.flash_hits = self.evicted_blocks = self.lost_blocks = 0
        self._ring: list[tuple[int, str]] = []
        self._owner: dict[int, CacheServer] = {}
        self._spread()

    def _spread(self) -> None:
        self._ring = sorted((_point(f"{name}/{point}"), name) for name in self.servers for point in range(POINTS))
        self._owner.clear()

    def server_of(self, content: int) -> CacheServer:
        """Whose share of the ring a content hash falls into."""
        found = self._owner.get(content)
        if found is None:
            at = bisect_right(self._ring, (_point(str(content)), "\uffff")) % len(self._ring)
            found = self._owner[content] = self.servers[self._ring[at][1]]
        return found

    def find(self, hashes: Sequence[int]) -> StoredRun:
        """The first of `hashes` that are stored, up to the first that is not."""
        self.asked_blocks += len(hashes)
        tiers: tuple[dict[str, int], dict[str, int]] = {}, {}
        count = 0
        for content in hashes if self.servers else ():
            server = self.server_of(content)
            if content in server.dram:
                server.dram.move_to_end(content)
                tiers[0][server.name] = tiers[0].get(server.name, 0) + 1
            elif content in server.flash:
                del server.flash[content]
                self._keep(server, content)
                self.flash_hits += 1
                tiers[1][server.name] = tiers[1].get(server.name, 0) + 1
            else:
                break
            count += 1
        self.hit_blocks += count
        return StoredRun(count, tuple(sorted(tiers[0].items())), tuple(sorted(tiers[1].items())))

    def put(self, hashes: Sequence[int]) -> int:
        """Stores blocks; how many were not there yet."""
        new = 0
        for content in hashes if self.servers else ():
            server = self.server_of(content)
            if content in server.dram:
                server.dram.move_to_end(content)
                continue
            new += content not in server.flash
            server.flash.pop(content, None)
            self._keep(server, content)
        return new

    def _keep(self, server: CacheServer, content: int) -> None:
        server.dram[content] = None
        if len(server.dram) > server.dram_blocks:
            old, _ = server.dram.popitem(last=False)
            self.evicted_blocks += 1
            if server.flash_blocks:
                server.flash[old] = None
                if len(server.flash) > server.flash_blocks:
                    server.flash.popitem(last=False)

    def fail(self, name: str) -> int:
        """A server is gone; how many blocks were lost with it."""
        server = self.servers.pop(name)
        lost = len(server.dram) + len(server.flash)
        self.left[name] = server
        self.lost_blocks += lost
        self._spread()
        return lost

    def join(self, name: str) -> None:
        """A server is back, empty."""
        server = self.left.pop(name)
        self.servers[name] = CacheServer(name, server.dram_blocks, server.flash_blocks)
        self._spread()

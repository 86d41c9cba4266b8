"""Memory behind a device's own for KV blocks that leave it: DRAM, CXL, flash, or another instance's memory.

What a tier has no room for goes to the one behind it, the block used longest ago first; behind the last it is lost.
How long a copy takes is not said here: the loop asks for the time of a plan that moves those bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class KvTier:
    """One tier.

    Attributes:
        name: ``dram``, ``cxl``, ``flash``.
        capacity_blocks: that it has room for.
        used_blocks: of those.
    """

    name: str
    capacity_blocks: int
    used_blocks: int = 0
    cached: OrderedDict[int, int] = field(default_factory=OrderedDict)


class KvTiers:
    """Tiers in the order in which blocks fall through them."""

    def __init__(self, tiers: Sequence[KvTier]) -> None:
        self.tiers = tuple(tiers)
        self.lost_blocks = 0

    def put(self, content: int, blocks: int) -> None:
        """A prefix leaves device memory."""
        falling = [(content, blocks)]
        for tier in self.tiers:
            kept, falling = falling, []
            for key, size in kept:
                if size > tier.capacity_blocks:
                    falling.append((key, size))
                    continue
                tier.cached[key] = size
                tier.used_blocks += size
                while tier.used_blocks > tier.capacity_blocks:
                    old, old_size = tier.cached.popitem(last=False)
                    tier.used_blocks -= old_size
                    falling.append((old, old_size))
        self.lost_blocks += sum(size for _, size in falling)

    def take(self, hashes: Sequence[int]) -> list[tuple[str, int]]:
        """Removes the longest run of `hashes` that some tiers hold: tier and blocks of each, in order."""
        found: list[tuple[str, int]] = []
        for content in hashes:
            tier = next((tier for tier in self.tiers if content in tier.cached), None)
            if tier is None:
                break
            blocks = tier.cached.pop(content)
            tier.used_blocks -= blocks
            found.append((tier.name, blocks))
        return found

    def holds(self, hashes: Sequence[int]) -> int:
        """How many of the first hashes some tier holds."""
        count = 0
        for content in hashes:
            if not any(content in tier.cached for tier in self.tiers):
                break
            count += 1
        return count

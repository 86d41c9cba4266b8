"""The KV blocks of an instance: those that requests hold alone, and a tree of cached prefixes that they share.

A request's own blocks are counted, not listed: which of them is which changes no byte that a kernel reads. A cached
prefix is a chain of content hashes, each with a number of users; one without a user stays until room is needed, the
one that was used longest ago first, and of a chain its end before its beginning.

Source: Kwon et al., 'PagedAttention', SOSP 2023 (blocks); Zheng et al., 'SGLang', arXiv 2312.07104, section 3 (a tree
of prefixes with reference counts, least recently used leaves leave first).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from controller.errors import RunError
from controller.serving.kv_tiers import KvTiers

BLOCK_TOKENS = 16
"""Tokens of a block, vLLM's default."""


class KvExhausted(RunError):
    """A scheduler that takes more blocks than there are.

    Attributes:
        wanted_blocks, free_blocks: how many.
    """

    def __init__(self, wanted_blocks: int, free_blocks: int) -> None:
        self.wanted_blocks, self.free_blocks = wanted_blocks, free_blocks
        super().__init__(
            f"the scheduler takes {wanted_blocks} KV blocks and {free_blocks} are free; a scheduler must preempt "
            f"before it takes more than `state.free_blocks`"
        )


@dataclass(slots=True)
class _Cached:
    users: int
    blocks: int


class KvPool:
    """Blocks of `block_tokens` tokens, counted.

    Attributes:
        capacity_blocks: that the device memory holds.
        own_blocks: held by requests alone.
        shared_blocks: of the prefix tree, with and without users.
        peak_blocks: most that were held at once, cached prefixes without a user not counted.
        queried_tokens, hit_tokens: of prompts with hashes, and how many of those were found.
        evicted_blocks, fetched_blocks: that left it for want of room, and that came back from the tiers.
        tiers: memory behind the device's, where evicted prefixes go; None for none.
    """

    def __init__(self, capacity_blocks: int, block_tokens: int = BLOCK_TOKENS, tiers: KvTiers | None = None) -> None:
        self.capacity_blocks, self.block_tokens, self.tiers = capacity_blocks, block_tokens, tiers
        self.own_blocks = self.shared_blocks = self.peak_blocks = 0
        self.queried_tokens = self.hit_tokens = self.evicted_blocks = self.fetched_blocks = 0
        self._cached: dict[int, _Cached] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._idle_blocks = 0

    @property
    def available_blocks(self) -> int:
        """Blocks that are free, or hold cached prefixes without a user."""
        return self.capacity_blocks - self.own_blocks - self.shared_blocks + self._idle_blocks

    @property
    def held_blocks(self) -> int:
        """Blocks that requests hold, alone or together."""
        return self.own_blocks + self.shared_blocks - self._idle_blocks

    @property
    def moved_blocks(self) -> int:
        """Blocks that went to the tiers behind it, or came back."""
        return self.evicted_blocks + self.fetched_blocks

    def take(self, blocks: int) -> None:
        """Gives `blocks` blocks to a request alone.

        Raises:
            KvExhausted: there are fewer.
        """
        if blocks > self.available_blocks:
            raise KvExhausted(blocks, self.available_blocks)
        self.own_blocks += blocks
        if self.own_blocks + self.shared_blocks > self.capacity_blocks:
            self._evict(self.own_blocks + self.shared_blocks - self.capacity_blocks)
        held = self.own_blocks + self.shared_blocks - self._idle_blocks
        if held > self.peak_blocks:
            self.peak_blocks = held

    def give(self, blocks: int) -> None:
        """Takes `blocks` blocks back."""
        self.own_blocks -= blocks

    # -- prefixes ------------------------------------------------------------------------------------------------------

    def cached_hashes(self, hashes: Sequence[int]) -> int:
        """How many of the first hashes of a prompt are in device memory."""
        found = 0
        for content in hashes:
            if content not in self._cached:
                break
            found += 1
        return found

    def use(self, hashes: Sequence[int]) -> None:
        """Counts a user more of every hash, all of which are cached."""
        for content in hashes:
            entry = self._cached[content]
            if not entry.users:
                del self._idle[content]
                self._idle_blocks -= entry.blocks
            entry.users += 1

    def leave(self, hashes: Sequence[int]) -> None:
        """Counts a user less of every hash; the end of a chain is the first that may go."""
        for content in reversed(hashes):
            entry = self._cached[content]
            entry.users -= 1
            if not entry.users:
                self._idle[content] = None
                self._idle_blocks += entry.blocks

    def share(self, hashes: Sequence[int], blocks_each: int) -> int:
        """Moves blocks of a request, whose content is complete, into the tree with this request as a user.

        Returns:
            Blocks that the request no longer holds alone: all of them; of hashes that somebody else has cached
            meanwhile, its own copy is free again.
        """
        for content in hashes:
            entry = self._cached.get(content)
            if entry is None:
                self._cached[content] = _Cached(1, blocks_each)
                self.shared_blocks += blocks_each
            else:
                if not entry.users:
                    del self._idle[content]
                    self._idle_blocks -= entry.blocks
                entry.users += 1
            self.own_blocks -= blocks_each
        return len(hashes) * blocks_each

    def restore(self, hashes: Sequence[int], blocks_each: int) -> int:
        """Brings hashes back from the tiers for one user, as far as they are there and have room.

        Returns:
            How many of the first.
        """
        tiers = self.tiers
        if tiers is None:
            return 0
        count = min(tiers.holds(hashes), self.available_blocks // blocks_each)
        for content in hashes[:count]:
            tiers.take((content,))
            self._cached[content] = _Cached(1, blocks_each)
            self.shared_blocks += blocks_each
            self.fetched_blocks += blocks_each
        held = self.own_blocks + self.shared_blocks
        if held > self.capacity_blocks:
            self._evict(held - self.capacity_blocks)
        self.peak_blocks = max(self.peak_blocks, self.held_blocks)
        return count

    def drop(self, hashes: Sequence[int]) -> None:
        """Forgets cached prefixes without a user, as a group of requests ends that shared them."""
        for content in hashes:
            entry = self._cached.get(content)
            if entry is not None and not entry.users:
                self._remove(content, entry)

    def clear(self) -> None:
        """Loses everything, as the memory of a device does that fails."""
        self.own_blocks = self.shared_blocks = self._idle_blocks = 0
        self._cached.clear()
        self._idle.clear()

    def _evict(self, blocks: int) -> None:
        while blocks > 0:
            content = next(iter(self._idle))
            entry = self._cached[content]
            blocks -= entry.blocks
            self.evicted_blocks += entry.blocks
            self._remove(content, entry)
            if self.tiers is not None:
                self.tiers.put(content, entry.blocks)

    def _remove(self, content: int, entry: _Cached) -> None:
        del self._idle[content], self._cached[content]
        self._idle_blocks -= entry.blocks
        self.shared_blocks -= entry.blocks

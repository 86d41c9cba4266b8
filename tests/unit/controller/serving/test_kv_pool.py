"""Blocks that are counted, prefixes that are shared, and what leaves when room is needed."""

import pytest

from controller.serving.kv_pool import KvExhausted, KvPool
from controller.serving.kv_tiers import KvTier, KvTiers


def test_more_blocks_than_are_free_are_refused() -> None:
    pool = KvPool(4)
    pool.take(3)
    with pytest.raises(KvExhausted, match="takes 2 KV blocks and 1 are free"):
        pool.take(2)


def test_a_prefix_is_shared_and_stays_until_room_is_needed() -> None:
    pool = KvPool(6)
    pool.take(3)
    assert pool.share((11, 12, 13), 1) == 3
    assert (pool.own_blocks, pool.shared_blocks, pool.available_blocks) == (0, 3, 3)
    pool.use((11, 12))
    pool.leave((11, 12, 13))
    pool.leave((11, 12))
    assert pool.available_blocks == 6 and pool.cached_hashes((11, 12, 13)) == 3
    pool.take(5)  # the end of the chain goes first
    assert pool.cached_hashes((11, 12, 13)) == 1 and pool.held_blocks == 5


def test_what_leaves_falls_through_the_tiers() -> None:
    tiers = KvTiers([KvTier("dram", 2), KvTier("flash", 1)])
    pool = KvPool(4, tiers=tiers)
    pool.take(4)
    pool.share((1, 2, 3, 4), 1)
    pool.leave((1, 2, 3, 4))
    pool.take(4)
    assert tiers.lost_blocks == 1
    assert [content in tiers.tiers[0].cached for content in (1, 2, 3, 4)] == [True, True, False, False]
    assert tiers.take((1, 2)) == [("dram", 1), ("dram", 1)]
    assert tiers.holds((1,)) == 0

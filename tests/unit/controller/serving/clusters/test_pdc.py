"""Pools of a supernode: the connection map, handoffs that meet, the store of blocks, and what reading it takes."""

import pytest

from controller.errors import BadWorkload
from controller.serving.clusters.pdc import source_rank
from controller.serving.clusters.pdc_handoff import HandoffMover
from controller.serving.clusters.pdc_store import BlockStore, CacheServer, StoredRun
from controller.serving.clusters.pdc_transport import CacheTransport
from controller.serving.kv_movers import FabricMover, KvCopy
from controller.topology.loader import load_topology

RDMA = "link.npu.ub-ub_l1.failed=true"
HOSTS = "fabric.hosts=4"
TOKEN_BYTES = 70_272


def test_the_map_spreads_decode_ranks_over_prefill_ranks() -> None:
    assert [source_rank(32, 1, 320, rank) for rank in (0, 9, 10, 319)] == [0, 0, 1, 31]
    assert [source_rank(8, 2, 16, rank, tp) for rank, tp in ((0, 1), (3, 0), (4, 1), (15, 1))] == [1, 0, 3, 7]
    counts = [sum(source_rank(32, 1, 320, rank) == source for rank in range(320)) for source in range(32)]
    assert set(counts) == {10}
    with pytest.raises(BadWorkload, match="write --cluster-option decode_ep=N with a multiple of 32"):
        source_rank(32, 1, 100, 0)


def ends(mover, copies):
    found: dict[int, float] = {}

    def until(limit: float) -> None:
        while len(found) < len(copies) and (at := mover.next_at(limit)) <= limit and at != float("inf"):
            for number in mover.ended(at):
                found[number] = at

    for number, at, tokens in copies:
        until(at)
        mover.start(KvCopy(number, 0, 1, tokens), at)
    until(float("inf"))
    return found


def test_copies_that_meet_at_a_die_share_it_as_on_the_whole_fabric() -> None:
    topology = load_topology("cloudmatrix384", (HOSTS, RDMA))
    dies = [each.name for each in topology.of_kind("npu")]
    groups = [(dies[0],), (dies[32],)]
    copies = [(0, 0.0, 4000), (1, 0.002, 1000), (2, 0.003, 3000), (3, 0.2, 500)]
    ours = HandoffMover([topology], groups, TOKEN_BYTES)
    found = ends(ours, copies)
    assert found == pytest.approx(ends(FabricMover(topology, groups, [TOKEN_BYTES] * 2), copies), rel=1e-9)
    assert ours.met > 0 and found[3] - 0.2 == pytest.approx(500 * TOKEN_BYTES / 25e9, rel=0.01)


def test_copies_between_other_dies_do_not_meet() -> None:
    topology = load_topology("cloudmatrix384", (HOSTS, RDMA))
    dies = tuple(each.name for each in topology.of_kind("npu"))
    mover = HandoffMover([topology], [dies[:32], dies[32:]], TOKEN_BYTES)
    found = ends(mover, [(number, 0.0, 4096) for number in range(8)])
    assert len(set(found.values())) == 1 and mover.met == 0


def servers(count: int, dram: int = 1000, flash: int = 0) -> BlockStore:
    return BlockStore([CacheServer(f"cpu{number}", dram, flash) for number in range(count)])


def test_blocks_of_equal_prefixes_are_stored_once_and_found_up_to_the_first_that_is_not() -> None:
    store = servers(4)
    assert store.put(range(100)) == 100 and store.put(range(90, 110)) == 10
    found = store.find([*range(50), 999, *range(50, 60)])
    assert found.blocks == 50 and sum(count for _, count in found.from_dram) == 50 and not found.from_flash
    assert store.hit_blocks == 50 and store.asked_blocks == 61


def test_what_dram_has_no_room_for_goes_to_flash_and_comes_back() -> None:
    store = servers(1, dram=10, flash=5)
    store.put(range(12))
    found = store.find([0, 1])
    assert (found.blocks, found.from_flash, store.flash_hits) == (2, (("cpu0", 2),), 2)
    store.put(range(100, 130))
    assert store.find([0]).blocks == 0


def test_a_server_that_leaves_moves_no_other_key_and_its_blocks_are_counted() -> None:
    store = servers(8)
    keys = range(2000)
    before = {key: store.server_of(key).name for key in keys}
    share = [sum(name == f"cpu{number}" for name in before.values()) for number in range(8)]
    assert min(share) > 100
    store.put(keys)
    lost = store.fail("cpu3")
    assert lost == store.lost_blocks == share[3]
    moved = [key for key in keys if store.server_of(key).name != before[key]]
    assert {before[key] for key in moved} == {"cpu3"} and len(moved) == share[3]


def test_vpc_takes_longer_than_ub_and_flash_longest() -> None:
    topology, off_ub = (
        load_topology("cloudmatrix384", (HOSTS, *more)) for more in ((), ("link.cpu.ub-ub_l1.failed=true",))
    )
    names = [each.name for each in topology.of_kind("cpu")]
    size = 128 * TOKEN_BYTES
    ub, vpc = (CacheTransport(topology, off_ub, names, ["npu0"], size, plane) for plane in ("ub", "vpc"))
    dram, flash = StoredRun(32, (("cpu0", 32),), ()), StoredRun(32, (), (("cpu0", 32),))
    assert 32 * size / 196e9 < ub.load_s(dram) < vpc.load_s(dram)
    assert ub.load_s(flash) > ub.load_s(dram) + 5e-4
    assert ub.loaded_bytes == 3 * 32 * size


def test_a_cache_smaller_than_a_block_is_refused() -> None:
    with pytest.raises(BadWorkload, match="less DRAM than one block"):
        servers(2, dram=0)


def test_a_copy_takes_the_other_plane_where_the_first_does_not_reach_its_die() -> None:
    plain = load_topology("cloudmatrix384", (HOSTS,))
    rdma = load_topology("cloudmatrix384", (HOSTS, RDMA))
    dies = [each.name for each in plain.of_kind("npu")]
    own = next(link.name for link in plain.links if {link.a.vertex, link.b.vertex} == {dies[0], "rnic_h0"})
    mover = HandoffMover([rdma, plain], [(dies[0],), (dies[32],)], TOKEN_BYTES)
    alone = ends(mover, [(0, 0.0, 4096)])[0]
    mover.reroute(frozenset({own}))
    assert ends(mover, [(1, 1.0, 4096)])[1] - 1.0 < alone / 4  # UB
    mover.reroute(frozenset())
    assert ends(mover, [(2, 2.0, 4096)])[2] - 2.0 == pytest.approx(alone)


def test_a_server_that_comes_back_is_empty() -> None:
    store = servers(2)
    store.put(range(100))
    lost = store.fail("cpu0")
    store.join("cpu0")
    assert store.find([key for key in range(100) if store.server_of(key).name == "cpu0"]).blocks == 0
    assert lost and store.put(range(100)) == lost

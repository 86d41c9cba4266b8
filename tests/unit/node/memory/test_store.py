"""Tiers keep exact account of their bytes, whatever they are made of."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.errors import BufferExists, BufferInUse, OutOfRange, TierFull, UnknownBuffer, UnknownTier
from node.hardware.device import DeviceSpec, TierSpec
from node.memory.arena import SharedArena
from node.memory.attach import Attachment, Segment
from node.memory.store import DeviceStore

CAPACITY = 1_000_000


def spec(capacity: int = CAPACITY) -> DeviceSpec:
    tiers = {
        "hbm": TierSpec("hbm", "dram", capacity, 1e9, 1e9),
        "flash": TierSpec("flash", "flash", capacity, 1e9, 1e9),
    }
    return DeviceSpec("p", "csd", "", tiers, {}, {}, {})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DeviceStore]:
    made = DeviceStore("dev", spec(), tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("tier", ["hbm", "flash"])
class TestEveryTier:
    """The conformance suite: a new kind of tier is added to the parameters."""

    def test_starts_as_zeros_and_keeps_what_is_written(self, store: DeviceStore, tier: str) -> None:
        buffer = store.allocate("x", tier, "uint8", (10_000,))
        with buffer.tier.held(buffer, 0, 10_000, writes=True):
            view = buffer.tier.view(buffer, 0, 10_000)
            assert bytes(view) == bytes(10_000)
            view[5000:5004] = b"wind"
        with buffer.tier.held(buffer, 5000, 4, writes=False):
            assert bytes(buffer.tier.view(buffer, 5000, 4)) == b"wind"

    def test_is_full_to_the_byte(self, store: DeviceStore, tier: str) -> None:
        store.allocate("x", tier, "uint8", (CAPACITY - 1,))
        store.allocate("y", tier, "uint8", (1,))
        with pytest.raises(TierFull) as full:
            store.allocate("z", tier, "fp32", (2,))
        assert (full.value.missing_bytes, full.value.free_bytes, full.value.tier) == (8, 0, tier)
        assert store.free("x") == CAPACITY - 1
        store.allocate("z", tier, "fp32", (2,))
        assert store.tiers[tier].used_bytes == 9
        assert store.tiers[tier].peak_bytes == CAPACITY

    def test_a_buffer_is_zeros_again_under_the_same_name(self, store: DeviceStore, tier: str) -> None:
        for _ in range(3):
            buffer = store.allocate("x", tier, "uint8", (5000,))
            with buffer.tier.held(buffer, 0, 5000, writes=True):
                assert not any(buffer.tier.view(buffer, 0, 5000))
                buffer.tier.view(buffer, 0, 5000)[:] = b"\xff" * 5000
            store.free("x")
            assert buffer.freed

    def test_empty_buffers_are_allowed(self, store: DeviceStore, tier: str) -> None:
        buffer = store.allocate("x", tier, "fp32", (0, 4))
        with buffer.tier.held(buffer, 0, 0, writes=True):
            assert len(buffer.tier.view(buffer, 0, 0)) == 0
        assert store.prepare("first", ("csd0",)) == 0
        store.commit("first")
        store.free("x")

    def test_wrong_names(self, store: DeviceStore, tier: str) -> None:
        store.allocate("kv", tier, "fp32", (4,))
        with pytest.raises(BufferExists, match="kv"):
            store.allocate("kv", tier, "fp32", (4,))
        with pytest.raises(UnknownBuffer, match="did you mean 'kv'"):
            store.find("kv0")
        with pytest.raises(OutOfRange):
            store.range_of("kv", 8, (3,))
        with pytest.raises(OutOfRange, match="multiple"):
            store.range_of("kv", 2, (1,))
        store.free("kv")
        with pytest.raises(UnknownBuffer):
            store.free("kv")


@pytest.mark.parametrize("tier", ["hbm", "flash"])
def test_a_buffer_in_use_is_not_freed(store: DeviceStore, tier: str) -> None:
    store.allocate("x", tier, "uint8", (5000,))
    with store.pinned("x", "a read that has not ended"), store.pinned("x", "a kernel in flight (add)"):
        with pytest.raises(BufferInUse, match=r"dev\.x is in use by a kernel in flight \(add\), a read that has not"):
            store.free("x")
        assert store.tiers[tier].used_bytes == 5000 and not store.find("x").freed
    freed = store.find("x")
    assert store.free("x") == 5000 and not store.tiers[tier].used_bytes
    assert not store.pin((freed,), "a kernel")
    with pytest.raises(UnknownBuffer), store.pinned("x", "a write"):
        pass


_PEER = """
import sys
from node.memory.attach import Attachment, Segment
attached = Attachment(Segment(*map(int, sys.argv[1:])))
with attached.pinned() as first, attached.pinned() as second:
    print("pinned" if first and second else "moved", flush=True)
    sys.stdin.readline()
print("unpinned", flush=True)
sys.stdin.readline()
"""


def test_a_peer_that_maps_a_buffer_keeps_it_until_it_ends_or_dies(store: DeviceStore) -> None:
    arena = store.tiers["hbm"]
    assert isinstance(arena, SharedArena)

    def peer() -> subprocess.Popen[str]:
        segment = (os.getpid(), arena.descriptor, arena.inode, store.find("x").place, 5000, arena.generation)
        command = [sys.executable, "-c", _PEER, *map(str, segment)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    for dies in (False, True):
        store.allocate("x", "hbm", "uint8", (5000,))
        with peer() as process:
            assert process.stdin is not None and process.stdout is not None
            assert process.stdout.readline() == "pinned\n"
            with pytest.raises(BufferInUse, match=r"dev\.x is in use by a push or a kernel of a peer"):
                store.free("x")
            assert arena.used_bytes == 5000 and not store.find("x").freed
            if dies:
                process.kill()
                process.wait()
            else:
                print(file=process.stdin, flush=True)
                assert process.stdout.readline() == "unpinned\n"
            assert store.free("x") == 5000 and not arena.used_bytes
            process.kill()


def test_an_unknown_tier(store: DeviceStore) -> None:
    with pytest.raises(UnknownTier, match="hbm, flash"):
        store.allocate("x", "l2", "fp32", (4,))


def test_another_mapping_sees_the_bytes_and_knows_when_to_look_again(store: DeviceStore) -> None:
    buffer, other = (store.allocate(name, "hbm", "uint8", (9000,)) for name in ("x", "y"))
    arena = buffer.tier
    assert isinstance(arena, SharedArena)
    segment = Segment(os.getpid(), arena.descriptor, arena.inode, buffer.place, 9000, arena.generation)
    attached = Attachment(segment)
    attached.bytes[:4] = b"wind"
    assert bytes(arena.view(buffer, 0, 4)) == b"wind"
    assert attached.current
    store.free("y")
    assert not attached.current and other.freed
    renewed = Segment(os.getpid(), arena.descriptor, arena.inode, buffer.place, 9000, arena.generation)
    assert attached.renewed(renewed) and attached.current


def test_freed_memory_goes_back_to_the_machine_and_addresses_come_back_last(tmp_path: Path) -> None:
    arena = SharedArena("dev", TierSpec("hbm", "dram", 64 << 20, 1e9, 1e9))
    places = []
    for _ in range(4):
        buffer = arena.allocate("x", "uint8", (16 << 20,), 16 << 20)
        arena.view(buffer, 0, buffer.size_bytes)[:] = b"\x01" * buffer.size_bytes
        held = os.fstat(arena.descriptor).st_blocks * 512
        assert held >= 16 << 20
        arena.free(buffer)
        assert os.fstat(arena.descriptor).st_blocks * 512 < 1 << 20
        places.append(buffer.place)
    assert len(set(places)) == 4


def test_holes_are_joined_and_used_when_addresses_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from node.memory import arena as module

    monkeypatch.setattr(module, "_SLACK_BYTES", 0)
    arena = SharedArena("dev", TierSpec("hbm", "dram", 8 * 4096, 1e9, 1e9))
    first: Callable[[int], object] = lambda pages: arena.allocate("x", "uint8", (pages * 4096,), pages * 4096)  # noqa: E731
    kept = first(1)
    for _ in range(10):  # 15 pages of addresses are left; 10 x 3 pages pass through them
        buffer = first(3)
        arena.free(buffer)  # type: ignore[arg-type]
    assert kept.place == 4096  # type: ignore[attr-defined]

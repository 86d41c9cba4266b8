"""Flash tiers: what is committed is there, what is not is gone, and memory stays bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.errors import BufferExists, CorruptTier, Fenced, NotPrepared
from node.hardware.device import TierSpec
from node.memory import flash_array
from node.memory.flash import FlashTier
from node.memory.tier import StoredBuffer

SPEC = TierSpec("flash", "flash", 1 << 30, 1e9, 1e9)
CHUNK = 1 << 20


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash_array, "CHUNK_BYTES", CHUNK)


def fill(tier: FlashTier, buffer: StoredBuffer, start: int, data: bytes) -> None:
    with tier.held(buffer, start, len(data), writes=True):
        tier.view(buffer, start, len(data))[:] = data


def content(tier: FlashTier, buffer: StoredBuffer, start: int, size: int) -> bytes:
    with tier.held(buffer, start, size, writes=False):
        return bytes(tier.view(buffer, start, size))


def commit(tier: FlashTier, transaction: str = "") -> int:
    transaction = transaction or f"after-{tier.committed}"
    written = tier.prepare(transaction, ("csd0",))
    tier.commit(transaction)
    return written


def test_more_than_the_cache_is_kept_on_disk(tmp_path: Path) -> None:
    tier = FlashTier("csd0", SPEC, tmp_path, cache_bytes=3 * CHUNK)
    buffer = tier.allocate("kv", "uint8", (10 * CHUNK,), 10 * CHUNK)
    for number in range(10):
        fill(tier, buffer, number * CHUNK, bytes([number + 1]) * CHUNK)
        assert tier._loaded_bytes <= 3 * CHUNK
    for number in range(10):
        assert content(tier, buffer, number * CHUNK, CHUNK) == bytes([number + 1]) * CHUNK
    across = content(tier, buffer, CHUNK - 2, 4)
    assert across == b"\x01\x01\x02\x02"
    tier.close()


def test_the_last_commit_is_what_is_found(tmp_path: Path) -> None:
    tier = FlashTier("csd0", SPEC, tmp_path, cache_bytes=2 * CHUNK)
    buffer = tier.allocate("kv", "bf16", (3, CHUNK // 2), 3 * CHUNK)
    gone = tier.allocate("gone", "uint8", (7,), 7)
    fill(tier, buffer, 0, b"a" * 3 * CHUNK)
    fill(tier, gone, 0, b"g" * 7)
    assert commit(tier) > 0
    fill(tier, buffer, CHUNK, b"b" * CHUNK)
    commit(tier)
    # Written, evicted to disk, even freed, but not committed:
    fill(tier, buffer, 0, b"c" * CHUNK)
    fill(tier, buffer, 2 * CHUNK, b"c" * CHUNK)
    fill(tier, buffer, CHUNK, b"c" * CHUNK)
    tier.free(gone)
    tier.allocate("late", "uint8", (7,), 7)
    tier.close()

    tier = FlashTier("csd0", SPEC, tmp_path)
    assert [(found.name, found.dtype, found.shape) for found in tier.found] == [
        ("kv", "bf16", (3, CHUNK // 2)),
        ("gone", "uint8", (7,)),
    ]
    assert tier.used_bytes == 3 * CHUNK + 7
    assert content(tier, tier.found[0], 0, 3 * CHUNK) == b"a" * CHUNK + b"b" * CHUNK + b"a" * CHUNK
    assert content(tier, tier.found[1], 0, 7) == b"g" * 7
    assert len(list((tmp_path / "arrays").iterdir())) == 2  # nothing of "late"
    tier.free(tier.found[1])
    commit(tier)
    assert len(list((tmp_path / "arrays").iterdir())) == 1
    tier.close()


def test_a_crash_between_chunks_and_manifest_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tier = FlashTier("csd0", SPEC, tmp_path)
    buffer = tier.allocate("kv", "uint8", (2 * CHUNK,), 2 * CHUNK)
    fill(tier, buffer, 0, b"a" * 2 * CHUNK)
    commit(tier)
    fill(tier, buffer, 0, b"b" * 2 * CHUNK)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("node.memory.flash.prepare_manifest", crash)
    with pytest.raises(KeyboardInterrupt):
        commit(tier)
    tier.close()
    tier = FlashTier("csd0", SPEC, tmp_path)
    assert content(tier, tier.found[0], 0, 2 * CHUNK) == b"a" * 2 * CHUNK
    tier.close()


def test_a_folder_belongs_to_one_process(tmp_path: Path) -> None:
    tier = FlashTier("csd0", SPEC, tmp_path)
    with pytest.raises(BufferExists, match="in use"):
        FlashTier("csd0", SPEC, tmp_path)
    tier.close()
    FlashTier("csd0", SPEC, tmp_path).close()


def test_damage_is_noticed(tmp_path: Path) -> None:
    tier = FlashTier("csd0", SPEC, tmp_path)
    buffer = tier.allocate("kv", "uint8", (100,), 100)
    fill(tier, buffer, 0, b"a" * 100)
    commit(tier)
    tier.close()
    (chunk,) = (path for path in (tmp_path / "arrays").glob("*/c/*/0"))
    chunk.write_bytes(b"b" + chunk.read_bytes()[1:])
    tier = FlashTier("csd0", SPEC, tmp_path)
    with pytest.raises(CorruptTier, match="checksum"):
        content(tier, tier.found[0], 0, 1)
    tier.close()
    (tmp_path / "manifest.json").write_text('{"format": 99, "buffers": []}')
    with pytest.raises(CorruptTier, match="format 99"):
        FlashTier("csd0", SPEC, tmp_path)


def test_what_was_prepared_is_there_once_it_is_committed_and_else_not(tmp_path: Path) -> None:
    for decision in ("commit", "abandon"):
        folder = tmp_path / decision
        tier = FlashTier("csd0", SPEC, folder)
        kept, gone = (tier.allocate(name, "uint8", (2 * CHUNK,), 2 * CHUNK) for name in ("kept", "gone"))
        fill(tier, kept, 0, b"a" * 2 * CHUNK)
        commit(tier, "one")
        fill(tier, kept, CHUNK, b"b" * CHUNK)
        tier.free(gone)
        fill(tier, tier.allocate("fresh", "uint8", (5,), 5), 0, b"fresh")
        tier.prepare("two", ("csd0", "csd1"))
        tier.close()  # killed before anybody said what becomes of it

        tier = FlashTier("csd0", SPEC, folder)
        assert tier.committed == "one"
        assert (tier.prepared.transaction, tier.prepared.participants) == ("two", ("csd0", "csd1"))
        if decision == "commit":
            assert tier.commit("two")
            assert not tier.commit("two")
        else:
            tier.abandon()
            with pytest.raises(NotPrepared, match="two"):
                tier.commit("two")
        assert tier.prepared is None
        tier.close()

        tier = FlashTier("csd0", SPEC, folder)
        buffers = {buffer.name: buffer for buffer in tier.found}
        assert set(buffers) == ({"kept", "fresh"} if decision == "commit" else {"kept", "gone"})
        after = (b"b" if decision == "commit" else b"a") * CHUNK
        assert content(tier, buffers["kept"], 0, 2 * CHUNK) == b"a" * CHUNK + after
        assert tier.used_bytes == sum(buffer.size_bytes for buffer in tier.found)
        assert len(list((folder / "arrays").iterdir())) == 2
        tier.close()


def test_writing_goes_on_between_the_two_phases(tmp_path: Path) -> None:
    tier = FlashTier("csd0", SPEC, tmp_path, cache_bytes=CHUNK)
    buffer, early, late = (tier.allocate(name, "uint8", (4 * CHUNK,), 4 * CHUNK) for name in ("kv", "early", "late"))
    fill(tier, buffer, 0, b"a" * 4 * CHUNK)
    commit(tier, "one")
    fill(tier, buffer, 0, b"b" * 4 * CHUNK)
    tier.free(early)
    tier.prepare("two", ("csd0",))
    for chunk in range(4):  # more than the cache holds, and no slot is free on disk
        fill(tier, buffer, chunk * CHUNK, b"c" * CHUNK)
    tier.free(late)
    tier.commit("two")
    assert tier._loaded_bytes <= CHUNK
    assert content(tier, buffer, 0, 4 * CHUNK) == b"c" * 4 * CHUNK
    tier.close()

    tier = FlashTier("csd0", SPEC, tmp_path)
    assert [found.name for found in tier.found] == ["kv", "late"]
    assert content(tier, tier.found[0], 0, 4 * CHUNK) == b"b" * 4 * CHUNK
    tier.close()


def test_an_abandoned_state_is_prepared_again_with_what_came_since(tmp_path: Path) -> None:
    tier = FlashTier("csd0", SPEC, tmp_path)
    buffer = tier.allocate("kv", "uint8", (2 * CHUNK,), 2 * CHUNK)
    fill(tier, buffer, 0, b"a" * 2 * CHUNK)
    commit(tier, "one")
    fill(tier, buffer, 0, b"b" * CHUNK)
    tier.prepare("two", ("csd0",))
    with pytest.raises(NotPrepared, match="two"):  # another device may have committed it
        tier.prepare("three", ("csd0",))
    tier.abandon()
    fill(tier, buffer, CHUNK, b"c" * CHUNK)
    commit(tier, "three")
    tier.close()
    tier = FlashTier("csd0", SPEC, tmp_path)
    assert content(tier, tier.found[0], 0, 2 * CHUNK) == b"b" * CHUNK + b"c" * CHUNK
    tier.close()


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_who_was_replaced_writes_nothing(tmp_path: Path) -> None:
    old = FlashTier("csd0", SPEC, tmp_path, cache_bytes=2 * CHUNK)
    buffer = old.allocate("kv", "uint8", (4 * CHUNK,), 4 * CHUNK)
    fill(old, buffer, 0, b"a" * 4 * CHUNK)
    commit(old, "first")
    fill(old, buffer, 0, b"b" * CHUNK)  # in memory alone when it is replaced
    with pytest.raises(BufferExists, match="in use by another node; stop it, use another flash folder, or take it"):
        FlashTier("csd0", SPEC, tmp_path)
    new = FlashTier("csd0", SPEC, tmp_path, take_over=True)
    (found,) = new.found
    fill(new, found, CHUNK, b"n" * CHUNK)
    commit(new, "second")
    before = files_of(tmp_path)
    for attempt in (
        lambda: fill(old, buffer, 2 * CHUNK, b"c" * CHUNK),
        lambda: content(old, buffer, CHUNK, 3 * CHUNK),  # would write the changed chunk to make room
        lambda: old.allocate("late", "uint8", (7,), 7),
        lambda: old.prepare("third", ("csd0",)),
        lambda: old.commit("second"),
        old.abandon,
    ):
        with pytest.raises(Fenced, match=r"epoch 1 of this node is over, it is 2: nothing was written"):
            attempt()
    assert files_of(tmp_path) == before
    old.close()
    fill(new, found, 2 * CHUNK, b"m" * CHUNK)  # the one that took over goes on
    commit(new, "third")
    new.close()
    last = FlashTier("csd0", SPEC, tmp_path)
    assert content(last, last.found[0], 0, 4 * CHUNK) == b"a" * CHUNK + b"n" * CHUNK + b"m" * CHUNK + b"a" * CHUNK
    last.close()

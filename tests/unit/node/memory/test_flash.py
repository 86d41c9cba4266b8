"""Flash tiers: what is committed is there, what is not is gone, and memory stays bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.errors import BufferExists, CorruptTier
from node.hardware.device import TierSpec
from node.memory import flash_array
from node.memory.flash import FlashTier
from node.memory.tier import Buffer

SPEC = TierSpec("flash", "flash", 1 << 30, 1e9, 1e9)
CHUNK = 1 << 20


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash_array, "CHUNK_BYTES", CHUNK)


def fill(tier: FlashTier, buffer: Buffer, start: int, data: bytes) -> None:
    with tier.held(buffer, start, len(data), writes=True):
        tier.view(buffer, start, len(data))[:] = data


def content(tier: FlashTier, buffer: Buffer, start: int, size: int) -> bytes:
    with tier.held(buffer, start, size, writes=False):
        return bytes(tier.view(buffer, start, size))


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
    assert tier.commit() > 0
    fill(tier, buffer, CHUNK, b"b" * CHUNK)
    tier.commit()
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
    tier.commit()
    assert len(list((tmp_path / "arrays").iterdir())) == 1
    tier.close()


def test_a_crash_between_chunks_and_manifest_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tier = FlashTier("csd0", SPEC, tmp_path)
    buffer = tier.allocate("kv", "uint8", (2 * CHUNK,), 2 * CHUNK)
    fill(tier, buffer, 0, b"a" * 2 * CHUNK)
    tier.commit()
    fill(tier, buffer, 0, b"b" * 2 * CHUNK)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("node.memory.flash.write_manifest", crash)
    with pytest.raises(KeyboardInterrupt):
        tier.commit()
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
    tier.commit()
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

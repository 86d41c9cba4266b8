"""Bytes that a kernel moves on each tier, in whole pages, and how long each tier is busy with them.

Model: a tier of pages moves whole pages. A duplex tier reads and writes side by side; on a simplex one (a DRAM bus, the
channels of a drive) read and write time add up; a total limits both together. Tiers of one device work in parallel.
Source: JEDEC DDR4 and ONFI buses turn around between reads and writes, so they carry one of them at a time.
Valid for: kernels that stream their operands; each operand's bytes are contiguous, or in equal contiguous ranges.
Not modelled: bus turn-around time, bank conflicts, pages that two ranges share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from node.errors import UnknownTier
from node.hardware.device import DeviceSpec, TierSpec


def paged_bytes(nbytes: int, page_bytes: int, ranges: int = 1) -> int:
    """Bytes that really move when `nbytes` in `ranges` equal contiguous ranges live in pages [bytes]."""
    if page_bytes <= 1 or nbytes <= 0:
        return nbytes
    per_range = -(-nbytes // ranges)
    return -(-per_range // page_bytes) * page_bytes * ranges


def tier_bytes(
    spec: DeviceSpec, sizes: Sequence[int], tiers: Sequence[str], ranges: Sequence[int] | None = None
) -> dict[str, int]:
    """Bytes moved on each tier, by name, for operands of `sizes` that lie in `tiers` [bytes].

    Raises:
        UnknownTier: the device has no such tier.
        ValueError: there is not one tier for each operand.
    """
    moved: dict[str, int] = {}
    for index, (size, name) in enumerate(zip(sizes, tiers, strict=True)):
        tier = spec.tiers.get(name)
        if tier is None:
            raise UnknownTier(f"{spec.product} has no tier {name!r}; it has {', '.join(spec.tiers) or 'none'}")
        if tier.page_bytes > 1:
            size = paged_bytes(size, tier.page_bytes, ranges[index] if ranges else 1)
        moved[name] = moved.get(name, 0) + size
    return moved


def tier_time_s(tier: TierSpec, read_bytes: float, write_bytes: float) -> float:
    """How long `tier` is busy with these bytes at its declared bandwidth [s]."""
    read_s = read_bytes / tier.read_bytes_per_s
    write_s = write_bytes / tier.write_bytes_per_s
    busy_s = read_s + write_s if tier.simplex else max(read_s, write_s)
    if tier.total_bytes_per_s is not None:
        return max(busy_s, (read_bytes + write_bytes) / tier.total_bytes_per_s)
    return busy_s


def tiers_time_s(spec: DeviceSpec, read_bytes: Mapping[str, int], write_bytes: Mapping[str, int]) -> dict[str, float]:
    """How long each tier that is touched is busy, by name [s]."""
    busy = {name: tier_time_s(spec.tiers[name], size, write_bytes.get(name, 0)) for name, size in read_bytes.items()}
    for name, size in write_bytes.items():
        if name not in busy:
            busy[name] = tier_time_s(spec.tiers[name], 0, size)
    return busy


def tiers_latency_s(spec: DeviceSpec, read_bytes: Mapping[str, int], write_bytes: Mapping[str, int]) -> float:
    """Latency that a kernel pays once before its bytes flow: the longest of the tiers that it touches [s]."""
    latency = 0.0
    for name, size in read_bytes.items():
        if size and spec.tiers[name].read_latency_s > latency:
            latency = spec.tiers[name].read_latency_s
    for name, size in write_bytes.items():
        if size and spec.tiers[name].write_latency_s > latency:
            latency = spec.tiers[name].write_latency_s
    return latency

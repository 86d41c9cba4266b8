"""What a kernel finds in the last-level cache because it was used a moment ago.

Model: an operand that is used again after `span` bytes of other traffic is found whole while the span fits into what
the cache effectively holds, not at all once the span is some factor of that, and in between by the logarithm. One cache
holds all of its size: what goes round and round in it is found whole up to there, and a pattern that is larger than a
cache which forgets the oldest finds nothing, so the fade that follows is short (`FADE`). A cache of two partitions
(`l2_parts`), each of which keeps its own copy of what all units read, effectively holds `PARTITIONED_SHARE` of its
size, and what is read from one side alone blurs its edge (`PARTITIONED_FADE`).
Source: NVIDIA A100 whitepaper, section on the L2 cache (two partitions). `PARTITIONED_SHARE` and `PARTITIONED_FADE` are
fitted to NVIDIA aiconfigurator's GEMM table of H100 SXM, whose weights rotate over up to five copies; `FADE` is read
off its table of L40S, whose rows at exactly 96 MiB find all and at 1.08 of it nothing. Smith, Goodman, 'Instruction
cache replacement policies and organizations', IEEE ToC C-34(3), 1985 (a loop over more than a cache that forgets the
oldest finds nothing).
Valid for: kernels that are repeated with little between them, as in a benchmark; no other plan claims it, so that its
operands come from memory.
Model (processors): the caches of a server keep part of what is passed over again and again, however large it is: their
replacement guards against streams, so that a share cache / working set is found (`held_share`), not none as in a plain
least-recently-used cache. Private caches and a last-level cache that takes what they evict hold different lines, so
their sizes add up. Writes by devices (DMA) go into the last-level cache and reach slow memory behind it only once they
push out older lines: up to the size of the cache they run at the rate of the link, the rest at that of the memory.
Source (processors): Qureshi, Jaleel, Patt, Steely, Emer, 'Adaptive insertion policies for high performance caching',
ISCA 2007 (a cyclic pattern keeps cache / working set); Intel Xeon Scalable technical overview (last-level cache that
holds what private ones evict); Intel Data Direct I/O technology brief (device writes into the last-level cache).
Not modelled: other replacement policies, what other kernels bring in, the share of the cache that a host gives to DMA.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Final

from node.hardware.operation import Demand

PARTITIONED_SHARE: Final = 0.62
"""Fitted: share of a partitioned cache that holds different bytes."""
PARTITIONED_FADE: Final = 1.2
"""Fitted: from all to nothing found in a partitioned cache, the span grows by this factor."""
FADE: Final = 1.1
"""Measured: the same of a cache of one part."""


def held_bytes(cache_bytes: float, parts: float = 1.0) -> float:
    """Different bytes that a cache keeps for all units [bytes]; arguments as in `hit_share`."""
    return cache_bytes * PARTITIONED_SHARE if parts > 1 else cache_bytes


def hit_share(span_bytes: float, cache_bytes: float, parts: float = 1.0) -> float:
    """Share of an operand found in the cache after `span_bytes` of traffic since its last use.

    Args:
        span_bytes: its own size and everything between [bytes].
        cache_bytes: size of the cache [bytes]; 0 for none.
        parts: partitions that each hold their own copy.
    """
    holds, fade = held_bytes(cache_bytes, parts), PARTITIONED_FADE if parts > 1 else FADE
    if holds <= 0.0:
        return 0.0
    if span_bytes <= holds:
        return 1.0
    return max(0.0, 1.0 - log(span_bytes / holds) / log(fade))


def held_share(span_bytes: float, cache_bytes: float) -> float:
    """Share of a working set that a processor's caches still hold when it is passed over again.

    Args:
        span_bytes: size of the working set [bytes].
        cache_bytes: of all levels that hold different lines [bytes].
    """
    return 1.0 if span_bytes <= cache_bytes else cache_bytes / span_bytes


def absorbed_write_s(nbytes: float, cache_bytes: float, link_bytes_per_s: float, behind_bytes_per_s: float) -> float:
    """Time of a device's write into memory behind a processor's last-level cache [s].

    Args:
        nbytes: of the write, into a buffer that is used again and again [bytes].
        cache_bytes: of the last-level cache; 0 for none [bytes].
        link_bytes_per_s: that the device is attached by [bytes/s].
        behind_bytes_per_s: what the memory takes [bytes/s].
    """
    absorbed = min(nbytes, cache_bytes)
    return absorbed / link_bytes_per_s + (nbytes - absorbed) / min(link_bytes_per_s, behind_bytes_per_s)


def cached_share(demand: Demand, constants: Mapping[str, float]) -> float:
    """Share of all bytes of `demand` that come from the cache.

    Args:
        demand: ``dims`` may say ``span``, the bytes between two uses of the second and later inputs, and ``near_span``,
            those between two uses of the first input and the outputs; without them nothing is found.
        constants: of the compute unit: ``l2`` and ``l2_parts``.
    """
    cache_bytes, parts = constants.get("l2", 0.0), constants.get("l2_parts", 1.0)
    near = float(demand.reads[0] + sum(demand.writes))
    far = float(sum(demand.reads[1:]))
    total = near + far
    if not cache_bytes or total <= 0.0:
        return 0.0
    found = 0.0
    if "span" in demand.dims:
        found += far * hit_share(demand.dims["span"], cache_bytes, parts)
    if "near_span" in demand.dims:
        found += near * hit_share(demand.dims["near_span"], cache_bytes, parts)
    return found / total

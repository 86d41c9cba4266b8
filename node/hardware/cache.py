"""What a kernel finds in the last-level cache because it was used a moment ago.

Model: an operand that is used again after `span` bytes of other traffic is found whole while the span fits into what
the cache effectively holds, not at all once the span is `FADE` times that, and in between by the logarithm. A cache of
two partitions (`l2_parts`), each of which keeps its own copy of what all units read, effectively holds
`PARTITIONED_SHARE` of its size.
Source: NVIDIA A100 whitepaper, section on the L2 cache (two partitions). `PARTITIONED_SHARE` and `FADE` are fitted to
NVIDIA aiconfigurator's GEMM table of H100 SXM, whose weights rotate over up to five copies.
Valid for: kernels that are repeated with little between them, as in a benchmark; a plan never claims it, so that its
operands come from memory.
Not modelled: replacement policy, what other kernels bring in, caches beyond the last level.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Final

from node.hardware.operation import Demand

PARTITIONED_SHARE: Final = 0.62
"""Fitted: share of a partitioned cache that holds different bytes."""
FADE: Final = 1.2
"""Fitted: spans that are this many times too large find nothing."""

_LOG_FADE = log(FADE)


def hit_share(span_bytes: float, cache_bytes: float, parts: float = 1.0) -> float:
    """Share of an operand found in the cache after `span_bytes` of traffic since its last use.

    Args:
        span_bytes: its own size and everything between [bytes].
        cache_bytes: size of the cache [bytes]; 0 for none.
        parts: partitions that each hold their own copy.
    """
    holds = cache_bytes * (PARTITIONED_SHARE if parts > 1 else 1.0)
    if holds <= 0.0:
        return 0.0
    if span_bytes <= holds:
        return 1.0
    return max(0.0, 1.0 - log(span_bytes / holds) / _LOG_FADE)


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

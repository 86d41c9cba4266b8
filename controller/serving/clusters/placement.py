"""DistServe's placement: the shapes of prefill and decode instances with the best goodput a device, and their number.

Paper: DistServe, OSDI 2024 (arXiv 2401.09670), algorithm 1 (high node affinity): enumerate (TP, PP) for prompts and for
    decodes apart, keep the one with the best simulated goodput a GPU, and replicate it until the rate is met.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

ParallelShape = tuple[int, int]
"""Ranks of a stage, and stages."""


@dataclass(frozen=True, slots=True)
class PlacedFleet:
    """What the search chose.

    Attributes:
        prefill, decode: (TP, PP).
        prefill_count, decode_count: instances of each.
        goodputs: by role and shape, a device [1/s].
    """

    prefill: ParallelShape
    decode: ParallelShape
    prefill_count: int
    decode_count: int
    goodputs: dict[tuple[str, ParallelShape], float]


def place(
    fleet: Sequence[ParallelShape], rate_per_s: float, prefill_goodput: Callable[[ParallelShape], float],
    decode_goodput: Callable[[ParallelShape], float],
) -> PlacedFleet:  # fmt: skip
    """The best shapes for a rate.

    Args:
        fleet: shapes that devices can form.
        rate_per_s: that has to be met [1/s].
        prefill_goodput, decode_goodput: highest rate of one instance that attains the objective [1/s].
    """
    found: dict[tuple[str, ParallelShape], float] = {}
    for shape in fleet:
        devices = shape[0] * shape[1]
        found["prefill", shape] = prefill_goodput(shape) / devices
        found["decode", shape] = decode_goodput(shape) / devices
    # Of equal ones the smaller.
    best = {
        role: max(fleet, key=lambda shape: (found[role, shape], -shape[0] * shape[1])) for role in ("prefill", "decode")
    }
    counts = {
        role: max(1, ceil(rate_per_s / (found[role, best[role]] * best[role][0] * best[role][1])))
        if found[role, best[role]] > 0
        else 0
        for role in best
    }
    return PlacedFleet(best["prefill"], best["decode"], counts["prefill"], counts["decode"], found)

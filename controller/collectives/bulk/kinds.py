"""All transfers from ranks of one kind to ranks of another as one, when every rank sends to every other at once.

Two ranks are of one kind as in `loads`, with links of equal capacities, and get blocks of one size. All transfers
between two kinds then have one route but for their first and last links, so each loads the same, seen from its ends;
every rank of a kind sends equally many to each kind, and gets equally many; and what lies between is loaded by all of
them or by none. These are the conditions of `symmetry`, so they have equal rates and end at the same instant, and one
row with the weights of all stands for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.collectives.bulk.loads import Loads, Numbers, Places, Recipe

WORTH = 4
"""Folding is worth its searches for routes when so many transfers become one."""


@dataclass(frozen=True, slots=True)
class KindPairs:
    """Rows that stand for all transfers.

    Attributes:
        elements: of the transfers that each row stands for (r).
        loads: of each row.
        source: kind of the ranks that send (r).
        is_own: whether it is their own block (r).
    """

    elements: Numbers
    loads: Loads
    source: Numbers
    is_own: NDArray[np.bool_]


def kind_pairs(places: Places, blocks: Numbers) -> KindPairs | None:
    """Rows for every pair of kinds, and for every rank's own block.

    Args:
        places: of the ranks.
        blocks: elements that each rank gets from each other (n).

    Returns:
        The rows; None where the route of two kinds depends on whose name comes first, or
        there are too many kinds, or a policy gives every pair its own paths.
    """
    if places.fabric.routes_flows:
        return None
    # A kind for routes says nothing about capacities.
    key = np.stack([places.kind, places.capacities(), blocks])
    _, example, kind, members = np.unique(key, axis=1, return_index=True, return_inverse=True, return_counts=True)
    count = len(example)
    if count * count * WORTH > len(kind) * len(kind):
        return None
    by_name = [np.flatnonzero(kind == number)[np.argsort(places.by_name[kind == number])] for number in range(count)]
    sizes: list[int] = []
    rows: list[dict[int, float]] = []
    latency_s: list[float] = []
    rate_limit: list[float] = []
    source: list[int] = []
    is_own: list[bool] = []
    for own in range(count):
        for other in range(count):
            if blocks[example[other]] == 0:
                continue
            found = _pair(places, by_name[own], by_name[other], own == other)
            if found is None:
                return None
            alike = members[own] if own == other else 0
            for number, (recipe, sent, came, passed) in enumerate((
                (found[0], members[other] - (own == other), members[own] - (own == other),
                 members[own] * members[other] - alike),
                (found[1], 1, 0, members[own]),
            )):  # fmt: skip
                if recipe is None:
                    continue
                columns, weights, latency, limit = recipe
                taken: dict[int, float] = {}
                for (side, place, offset), weight in zip(columns, weights, strict=True):
                    if side == "fixed":
                        at, times = offset, passed
                    else:
                        rank, times = (own, sent) if side == "source" else (other, came)
                        at = int(places.near(example[rank : rank + 1].astype(np.int32), place)[0]) + offset
                    taken[at] = taken.get(at, 0.0) + weight * float(times)
                sizes.append(int(blocks[example[other]]))
                rows.append(taken)
                latency_s.append(latency)
                source.append(own)
                is_own.append(number == 1)
                rate_limit.append(limit)
    start = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    resource = np.array([at for row in rows for at in row], np.int32)
    weight_of = np.array([weight for row in rows for weight in row.values()])
    loads = Loads(start, resource, weight_of, np.array(latency_s), np.array(rate_limit))
    return KindPairs(np.array(sizes), loads, np.array(source, np.int64), np.array(is_own, np.bool_))


def _pair(places: Places, own: Numbers, other: Numbers, same: bool) -> tuple[Recipe | None, Recipe | None] | None:
    """How two kinds load, and how a rank of the first its own block; None where that depends on names.

    Args:
        own, other: their ranks in the order of names.
    """
    alone = places.recipe(int(own[0]), int(own[0])) if same else None
    examples: list[Recipe] = []
    # The first of one and the last of the other, both ways: if any two ranks stand in that order, these do.
    for source, target in ((own[0], other[-1]), (own[-1], other[0])):
        if source != target:
            examples.append(places.recipe(int(source), int(target)))
    if len(examples) == 2 and examples[0] != examples[1]:
        return None
    return (examples[0] if examples else None), alone

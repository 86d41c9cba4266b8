"""Ranks that do the same at the same time, folded into one where that is exact.

Ranks are put into classes so that for all ranks of a class

- the sheet, the sizes of the chunks that they own and the classes of the next and the preceding rank are equal,
- what their transfer to the next rank loads is equal, resource class by resource class, with its latency,

and for all resources of a class the capacity is equal, and so is what the transfers of each class of ranks take of
them. (An equitable partition; the coarsest one is found by refining colours until nothing splits any more.)

*Then all ranks of a class do everything at the same instants.* By induction over events: as long as it was so, all
transfers of one class and step have as much left, and equally many of each class load every resource of a class. Rates
that are equal within classes and fair among classes then are a max-min fair allocation of the whole, and there is only
one. So the next event is that of a whole class, and what it releases (the next rank's addition, its next transfer) is a
whole class again. One transfer with the weights of all of them on one resource of each class stands for the class.

The colours are hashes, so whether the conditions hold is checked again with the classes that came out. If they do not,
or if there are too many rounds, every rank is a class of its own: the whole collective, not folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.collectives.bulk.loads import Loads, Numbers, Places
from controller.collectives.bulk.phases import BulkPhases, Walk

ROUNDS = 512
"""Most rounds of refining; a fabric that needs more has no symmetry worth folding."""

SAME_WEIGHT = 1e-13
"""Sums of weights this close, relative to the sum, are equal: they were added up in different orders."""

Colours = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Classes:
    """Ranks by class.

    Attributes:
        of_rank: class of each rank (n).
        example: the first rank of each class (c).
        of_resource: the resource that stands for the class of each resource (resources).
    """

    of_rank: Numbers
    example: Numbers
    of_resource: Numbers

    @property
    def count(self) -> int:
        """How many classes, c."""
        return len(self.example)


def every_rank(places: Places) -> Classes:
    """Nothing folded."""
    ranks = np.arange(len(places.first))
    return Classes(ranks, ranks, np.arange(len(places.owner)))


def fold(places: Places, phases: BulkPhases, loads: Sequence[Loads]) -> Classes:
    """The coarsest classes that are exact.

    Args:
        places: of the ranks.
        phases: what is done.
        loads: of each rank's transfer to the next one, for each walk.
    """
    colours = _refined(places, phases, loads)
    if colours is None:
        return every_rank(places)
    ranks, links = colours
    _, example, of_rank = np.unique(ranks, return_index=True, return_inverse=True)
    # Classes in the order of their first rank.
    order = np.argsort(example, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    of_rank, example = place[of_rank], example[order]
    of_resource = np.arange(len(places.owner))
    owned = np.flatnonzero(places.owner >= 0)
    owners = places.owner[owned]
    of_resource[owned] += places.first[example[of_rank[owners]]] - places.first[owners]
    free = np.flatnonzero(places.owner < 0)
    if len(free):
        _, first, group = np.unique(links[free], return_index=True, return_inverse=True)
        of_resource[free] = free[first[group]]
    found = Classes(of_rank, example, of_resource)
    return found if _is_exact(places, phases, loads, found) else every_rank(places)


def _refined(places: Places, phases: BulkPhases, loads: Sequence[Loads]) -> tuple[Colours, Colours] | None:
    """Colours of ranks and of resources that no further round splits."""
    ranks = _mixed(places.sheet.astype(np.uint64))
    for owned in (*(walk.owned for walk in phases.walks), phases.copied[None, :]):
        for sizes in owned if owned.size else ():
            ranks = _mixed(ranks ^ _mixed(sizes.astype(np.uint64)))
    resources = len(places.owner)
    capacity = _mixed(places.fabric.capacity.view(np.uint64))
    slot = np.arange(resources) - np.where(places.owner >= 0, places.first[places.owner], 0)
    slots = _mixed(np.where(places.owner >= 0, slot, 0).astype(np.uint64))
    devices = places.owner >= 0
    rows = [np.repeat(np.arange(len(each.start) - 1), np.diff(each.start)) for each in loads]
    weights = [_mixed(each.weight.view(np.uint64)) for each in loads]
    alone = [_mixed(_mixed(each.latency_s.view(np.uint64)) ^ each.rate_limit.view(np.uint64)) for each in loads]
    links = capacity
    counted = -1
    for _ in range(ROUNDS):
        colour = np.where(devices, _mixed(slots ^ ranks[places.owner]), links)
        flows: list[Colours] = []
        for number, (walk, each) in enumerate(zip(phases.walks, loads, strict=True)):
            taken = np.zeros(len(ranks), np.uint64)
            np.add.at(taken, rows[number], _mixed(colour[each.resource] ^ weights[number]))
            both = _mixed(ranks + np.uint64(number)) ^ _mixed(ranks[walk.following] * np.uint64(3))
            flows.append(_mixed(taken ^ both ^ alone[number]))
        passed = np.zeros(resources, np.uint64)
        for number, each in enumerate(loads):
            np.add.at(passed, each.resource, _mixed(flows[number][rows[number]] ^ weights[number]))
        links = _mixed(capacity ^ _mixed(links) ^ passed)
        for number, walk in enumerate(phases.walks):
            ranks = _mixed(ranks ^ _mixed(flows[number]) ^ _mixed(flows[number][walk.preceding] + np.uint64(1)))
        count = len(np.unique(ranks)) + len(np.unique(links[~devices]))
        if count == counted:
            return ranks, links
        counted = count
    return None


def _mixed(values: Colours) -> Colours:
    """A number that hardly any other value gives (the finaliser of splitmix64)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _is_exact(places: Places, phases: BulkPhases, loads: Sequence[Loads], classes: Classes) -> bool:
    """Whether the conditions above hold for these classes."""
    of_rank, like = classes.of_rank, classes.example[classes.of_rank]
    columns = [places.sheet, *(row for walk in phases.walks for row in walk.owned)]
    columns += [phases.copied] if phases.copied.size else []
    for walk in phases.walks:
        columns += [of_rank[walk.following], of_rank[walk.preceding]]
    columns += [values for each in loads for values in (each.latency_s, each.rate_limit)]
    if any(not np.array_equal(values, values[like]) for values in columns):
        return False
    if not np.array_equal(places.fabric.capacity, places.fabric.capacity[classes.of_resource]):
        return False
    passing: list[tuple[Numbers, Numbers, NDArray[np.float64]]] = []
    for number, each in enumerate(loads):
        rank = np.repeat(np.arange(len(of_rank)), np.diff(each.start))
        if not _rows_agree(rank, classes.of_resource[each.resource], each.weight, like):
            return False
        passing.append((each.resource.astype(np.int64), of_rank[rank] + number * classes.count, each.weight))
    resource, flow, weight = (np.concatenate(column) for column in zip(*passing, strict=True))
    return _rows_agree(resource, flow, weight, classes.of_resource)


def _rows_agree(row: Numbers, column: Numbers, weight: NDArray[np.float64], like: Numbers) -> bool:
    """Whether every row has the same entries as the one that it is like; entries of one place are summed."""
    row, column, weight = summed(row, column, weight, int(column.max(initial=0)) + 1)
    start = np.searchsorted(row, np.arange(len(like) + 1))
    count = np.diff(start)
    if not np.array_equal(count, count[like]):
        return False
    twin = start[like[row]] + np.arange(len(row)) - start[row]
    return np.array_equal(column, column[twin]) and bool(
        np.all(np.abs(weight - weight[twin]) <= SAME_WEIGHT * np.abs(weight))
    )


def summed(
    row: Numbers, column: Numbers, weight: NDArray[np.float64], columns: int
) -> tuple[Numbers, Numbers, NDArray[np.float64]]:
    """Entries by row and column, those of one place added up."""
    key = row.astype(np.int64) * columns + column
    places, inverse = np.unique(key, return_inverse=True)
    totals = np.bincount(inverse, weight, len(places)).astype(np.float64, copy=False)
    return (places // columns).astype(np.int64), (places % columns).astype(np.int64), totals


def folded_loads(walk: Walk, each: Loads, classes: Classes, places: Places) -> Loads:
    """What one transfer of each class loads: on the example of each resource class what the whole class takes of it.

    Args:
        walk: whose transfers these are.
        each: their loads, one transfer a rank.
        classes: from `fold`.
        places: of the ranks.
    """
    rank = np.repeat(np.arange(len(classes.of_rank)), np.diff(each.start))
    resources = len(places.owner)
    examples = classes.of_resource[each.resource] == each.resource
    resource, of_class, total = summed(
        each.resource[examples].astype(np.int64), classes.of_rank[rank[examples]], each.weight[examples], classes.count
    )
    chosen = np.isin(rank, classes.example)
    row, column, _ = summed(
        classes.of_rank[rank[chosen]], classes.of_resource[each.resource[chosen]], each.weight[chosen], resources
    )
    # Both are sorted, by resource and class; look up what each entry of a class takes of the example.
    at = np.searchsorted(resource * classes.count + of_class, column * classes.count + row)
    start = np.searchsorted(row, np.arange(classes.count + 1))
    return Loads(
        start.astype(np.int64),
        column.astype(np.int32),
        total[at],
        each.latency_s[classes.example],
        each.rate_limit[classes.example],
    )

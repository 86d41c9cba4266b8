"""What ring collectives do, step by step, as arrays over ranks instead of ops.

A walk lets every rank pass one chunk to the next rank of its ring in every step, as `controller.collectives.rings` has
it: reducing walks first, gathering walks after them. Its ring is a map from each rank to the next, so one walk holds
all rings that run side by side (one in each host, or one through all hosts for each index in a host).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from controller.collectives.call import Call

Ranks = NDArray[np.int32]
Elements = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Walk:
    """One half of a ring.

    Attributes:
        reduces: whether what arrives is added to what the rank has.
        following: next rank on the ring of each rank (n).
        preceding: the one before (n).
        owned: elements of each piece of the chunk that each rank owns (pieces, n).
        steps: ranks of a ring less one.
    """

    reduces: bool
    following: Ranks
    preceding: Ranks
    owned: Elements
    steps: int

    @property
    def label(self) -> str:
        """What a plan calls its transfers."""
        return "reduce: send" if self.reduces else "gather: send"


@dataclass(frozen=True, slots=True)
class BulkPhases:
    """A whole collective.

    Attributes:
        walks: one after the other, without a barrier between them: reducing ones, then gathering ones.
        copied: elements that each rank brings from its input to its output first (n); empty when none does.
        scratch: elements of the scratch buffer of a rank; 0 for none.
    """

    walks: tuple[Walk, ...]
    copied: Elements
    scratch: int

    @property
    def transfers(self) -> int:
        """How many transfers of at least one element it stands for, copies within a rank included."""
        count = int(np.count_nonzero(self.copied))
        return count + sum(walk.steps * int(np.count_nonzero(walk.owned)) for walk in self.walks)


def filled(phases: BulkPhases) -> BulkPhases:
    """The same with a chunk for every rank, where some of equal ones round one ring are missing; else `phases`.

    Where all ranks are of one class and the transfers of a step do not slow each other down, both take the same time:
    chunks go round in step with or without the missing ones.
    """
    walks: list[Walk] = []
    for walk in phases.walks:
        full = np.broadcast_to(walk.owned.max(), walk.owned.shape)
        is_whole = np.array_equal(walk.owned, full)
        one_ring = walk.steps == walk.owned.shape[1] - 1 and len(walk.owned) == 1
        if not is_whole and not (one_ring and bool(((walk.owned == 0) | (walk.owned == full)).all())):
            return phases
        walks.append(walk if is_whole else replace(walk, owned=full))
    if phases.copied.size or all(new is old for new, old in zip(walks, phases.walks, strict=True)):
        return phases
    return replace(phases, walks=tuple(walks))


def split(counts: Elements, parts: int) -> Elements:
    """Sizes of `parts` even ranges of each count, larger ones first, (parts, n); see `controller.plan.ranges`."""
    whole, rest = np.divmod(counts, parts)
    return whole[None, :] + (np.arange(parts)[:, None] < rest[None, :])


def _whole_chunks(call: Call) -> Elements:
    return split(np.array([call.count]), call.world_size)[:, 0]


def _walk(rings: Sequence[Sequence[int]], owned: Elements, *, reduces: bool) -> Walk:
    order = np.array(rings, np.int32)
    following, preceding = np.empty(order.size, np.int32), np.empty(order.size, np.int32)
    following[order] = np.roll(order, -1, axis=1)
    preceding[order] = np.roll(order, 1, axis=1)
    return Walk(reduces, following, preceding, owned, order.shape[1] - 1)


def _one_ring(call: Call, reduces: bool) -> Walk:
    return _walk([range(call.world_size)], split(_whole_chunks(call), call.pieces), reduces=reduces)


_NONE = np.zeros(0, np.int64)


def all_reduce_ring(call: Call) -> BulkPhases:
    """Reduce round the ring, then gather round it."""
    return BulkPhases((_one_ring(call, True), _one_ring(call, False)), _NONE, call.count)


def reduce_scatter_ring(call: Call) -> BulkPhases:
    """The first half."""
    return BulkPhases((_one_ring(call, True),), _NONE, call.count)


def all_gather_ring(call: Call) -> BulkPhases:
    """The second half, after every rank's own chunk."""
    copied = _NONE if call.in_place else _whole_chunks(call)
    return BulkPhases((_one_ring(call, False),), copied, 0)


def all_reduce_hierarchical(call: Call) -> BulkPhases:
    """Reduce in hosts and between them, gather between hosts and in them.

    Raises:
        BadCall: hosts with different numbers of ranks.
    """
    hosts = call.group.equal_hosts("hierarchical")
    local = len(hosts[0])
    order = np.array(hosts, np.int32)
    inner, outer = np.empty((call.pieces, order.size), np.int64), np.empty((call.pieces, order.size), np.int64)
    of_index = split(split(np.array([call.count]), local)[:, 0], call.pieces)
    for piece in range(call.pieces):
        inner[piece, order] = of_index[piece][None, :]
        outer[piece, order] = split(of_index[piece], len(hosts))
    walks: list[Walk] = []
    if local > 1:
        walks.append(_walk(hosts, inner, reduces=True))
    if len(hosts) > 1:
        across = order.T.tolist()
        walks += [_walk(across, outer, reduces=True), _walk(across, outer, reduces=False)]
    if local > 1:
        walks.append(_walk(hosts, inner, reduces=False))
    return BulkPhases(tuple(walks), _NONE, call.count)


WALKS: Mapping[tuple[str, str], Callable[[Call], BulkPhases]] = {
    ("all_reduce", "ring"): all_reduce_ring,
    ("all_reduce", "hierarchical"): all_reduce_hierarchical,
    ("reduce_scatter", "ring"): reduce_scatter_ring,
    ("all_gather", "ring"): all_gather_ring,
}
"""Collective and algorithm to its phases."""

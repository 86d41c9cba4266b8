"""The phases of a collective as engine arrays: one row for a transfer or an addition of each class in each step.

Rows lie walk by walk, step by step, piece by piece; in a piece first the transfers of all classes, by sender, and in a
reducing walk then the launches and the additions, by receiver. That is the order of the plan, so additions come to
their queues in the same order. What waits for what is written out below; a plan finds the same from what its ops read
and write, with further edges that follow from these.

- A transfer waits for the one that brought the chunk to its sender, or for the addition that completed it there.
- The first one of a walk waits for whoever wrote the sender's own chunk last: the additions of the walk before; behind
  a gathering walk its arrivals, and the last addition for what the sender owned in it.
- In a second reducing walk every transfer waits for the last addition of the first at its receiver, which reads the
  scratch buffer that the transfer writes to.
- An addition waits for its transfer and its launch.
- Where channels of a library copy the sum to the output, that copy stands for the last addition in what comes after.
- Transfers between two ranks are in the queue of their connection, in the order of their rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.collectives.bulk.additions import Additions
from controller.collectives.bulk.loads import Loads, Numbers
from controller.collectives.bulk.phases import Walk
from controller.engine.activities import Activities


@dataclass(frozen=True, slots=True)
class Start:
    """What happens before the first walk, by class.

    Attributes:
        start_s: time that a protocol takes to start (c) [s]; zero without one.
        copied: elements that each rank copies from its input to its output (c); empty when none does.
        copy_loads: what these copies load, and those of sums.
        own_bytes_per_s: at which the channels of a library copy a rank's own share [bytes/s]; inf without a library.
    """

    start_s: NDArray[np.float64]
    copied: Numbers
    copy_loads: Loads | None
    own_bytes_per_s: float = np.inf

    @property
    def copies_sums(self) -> bool:
        """Whether what a rank has summed up last is brought to its output by a copy of its own."""
        return self.own_bytes_per_s < np.inf


@dataclass(slots=True)
class CollectedRows:
    """Rows and their edges, while they are collected; the columns are those of `Activities`.

    Attributes:
        load_count: loads of each row.
        edges: rows, and what each of them waits for; a row stands once in each.
    """

    work: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    rate_limit: NDArray[np.float64]
    queue: NDArray[np.int32]
    load_count: Numbers
    load_resource: NDArray[np.int32]
    load_weight: NDArray[np.float64]
    edges: list[tuple[Numbers, Numbers]]


def activities(
    walks: Sequence[Walk],
    loads: Sequence[Loads],
    start: Start,
    added: Additions | None,
    item_bytes: int,
    connections: Sequence[NDArray[np.int32]],
) -> Activities:
    """All rows of a collective.

    Args:
        walks: over classes: `following`, `preceding` and `owned` are by class.
        loads: of one transfer of each class, for each walk.
        start: what comes first.
        added: what additions cost by class; None when no walk reduces.
        item_bytes: of an element [bytes].
        connections: queue of the connection that each class sends on, for each walk.
    """
    blocks, first, roots = _first_rows(start, len(start.start_s), item_bytes)
    last_sums: Numbers | None = None  # last additions of the reducing walk before, (pieces, c)
    arrivals: list[Numbers] = []  # what wrote each rank's own chunk, (pieces, c) each
    for walk, each, connection in zip(walks, loads, connections, strict=True):
        pieces, count = walk.owned.shape
        layers = layers_of(walk, added)
        rows = first + np.arange(walk.steps * pieces * layers * count).reshape(walk.steps, pieces, layers, count)
        sends, sums = rows[:, :, 0], rows[:, :, layers - 1]
        block = walk_rows(walk, each, added, sizes_by_step(walk), item_bytes, connection)
        came = sums[:-1] if walk.reduces else sends[:-1][:, :, walk.preceding]
        block.edges.append((sends[1:], came))
        block.edges += [(sends[0], np.broadcast_to(earlier, sends[0].shape)) for earlier in (arrivals or roots)]
        if walk.reduces:
            if last_sums is not None:
                block.edges.append((sends, np.broadcast_to(last_sums[:, walk.following], sends.shape)))
            block.edges.append((sums, sends[:, :, walk.preceding]))
            if layers == 3:
                block.edges.append((sums, rows[:, :, 1]))
            last_sums = sums[-1]
            if start.copies_sums:
                blocks.append(block)
                first += len(block.work)
                block = own_rows(walk, start, item_bytes)
                block.edges.append((first + np.arange(last_sums.size).reshape(last_sums.shape), last_sums))
                last_sums = block.edges[0][0]
            arrivals = [last_sums]
        else:
            arrivals = [*sends[:, :, walk.preceding], *([] if last_sums is None else [last_sums])]
        blocks.append(block)
        first += len(block.work)
    return joined(blocks)


def layers_of(walk: Walk, added: Additions | None) -> int:
    """Rows of each class in a piece: transfer, launch where launching takes time, addition."""
    if not walk.reduces:
        return 1
    assert added is not None, "a reducing walk adds"
    return 3 if bool((added.issue >= 0).any()) else 2


def own_rows(walk: Walk, start: Start, item_bytes: int) -> CollectedRows:
    """Copies of what each rank has summed up of its own chunk, (pieces, c); without edges."""
    each, pieces = start.copy_loads, len(walk.owned)
    assert each is not None, "copies load something"
    return CollectedRows(
        (walk.owned * item_bytes).astype(np.float64).ravel(),
        np.where(walk.owned > 0, each.latency_s, 0.0).ravel(),
        np.tile(np.minimum(each.rate_limit, start.own_bytes_per_s), pieces),
        np.full(walk.owned.size, -1, np.int32),
        np.tile(np.diff(each.start), pieces),
        np.tile(each.resource, pieces),
        np.tile(each.weight, pieces),
        [],
    )


def _first_rows(start: Start, count: int, item_bytes: int) -> tuple[list[CollectedRows], int, list[Numbers]]:
    """Starts of the protocol and copies; then the number of the next row, and what the first walk waits for."""
    blocks: list[CollectedRows] = []
    roots: list[Numbers] = []
    nowhere = np.zeros(0, np.int32)
    first = 0
    if start.start_s.any():
        # One row more waits for all, so that whoever begins waits for one.
        pause = np.append(start.start_s, 0.0)
        edges = [(np.full(count, count), np.arange(count))]
        free = np.full(count + 1, np.inf), np.full(count + 1, -1, np.int32), np.zeros(count + 1, np.int64)
        blocks.append(CollectedRows(np.zeros(count + 1), pause, *free, nowhere, np.zeros(0), edges))
        roots, first = [np.array([count])], count + 1
    if start.copied.size:
        assert start.copy_loads is not None, "copies load something"
        each, there = start.copy_loads, start.copied > 0
        rows = first + np.arange(count)
        edges = [(rows, np.broadcast_to(root, rows.shape)) for root in roots]
        work, latency_s = (start.copied * item_bytes).astype(np.float64), np.where(there, each.latency_s, 0.0)
        queue = np.full(count, -1, np.int32)
        blocks.append(
            CollectedRows(
                work,
                latency_s,
                np.minimum(each.rate_limit, start.own_bytes_per_s),
                queue,
                np.diff(each.start),
                each.resource,
                each.weight,
                edges,
            )
        )
        roots, first = [rows[None, :]], first + count
    return blocks, first, roots


def sizes_by_step(walk: Walk) -> Numbers:
    """Elements of the chunk that each rank sends in each step, (steps, pieces, c)."""
    if bool((walk.owned == walk.owned[:, :1]).all()):
        return np.broadcast_to(walk.owned, (walk.steps, *walk.owned.shape))
    owner = walk.preceding if walk.reduces else np.arange(walk.owned.shape[1])
    found = np.empty((walk.steps, *walk.owned.shape), np.int64)
    for step in range(walk.steps):
        found[step] = walk.owned[:, owner]
        owner = owner[walk.preceding]
    return found


def walk_rows(
    walk: Walk,
    each: Loads,
    added: Additions | None,
    sizes: Numbers,
    item_bytes: int,
    connection: NDArray[np.int32],
) -> CollectedRows:
    """The rows of some steps of a walk, without edges.

    Args:
        walk: whose steps these are.
        each: loads of one transfer of each class.
        added: what additions cost; None when the walk does not reduce.
        sizes: elements that each class sends (steps, pieces, c).
        item_bytes: of an element [bytes].
        connection: queue that each class sends on (c).
    """
    layers = layers_of(walk, added)
    shape = (*sizes.shape[:2], layers, sizes.shape[2])
    work, latency_s, rate_limit = np.zeros(shape), np.zeros(shape), np.full(shape, np.inf)
    queue, load_count = np.full(shape, -1, np.int32), np.zeros(shape, np.int64)
    work[:, :, 0] = sizes * item_bytes
    latency_s[:, :, 0] = np.where(sizes > 0, each.latency_s, 0.0)
    rate_limit[:, :, 0] = each.rate_limit
    queue[:, :, 0] = np.where(sizes > 0, connection, -1)
    load_count[:, :, 0] = np.diff(each.start)
    resources, weights = each.resource, each.weight
    repeats = shape[0] * shape[1]
    if not walk.reduces or added is None:
        return CollectedRows(
            work.ravel(), latency_s.ravel(), rate_limit.ravel(), queue.ravel(), load_count.ravel(),
            np.tile(resources, repeats), np.tile(weights, repeats), [],
        )  # fmt: skip
    gets = sizes[:, :, walk.preceding]
    kind, classes = np.searchsorted(added.sizes, gets), np.arange(shape[3])
    work[:, :, -1], latency_s[:, :, -1] = added.work[kind, classes], added.latency_s[kind, classes]
    rate_limit[:, :, -1] = added.rate_limit[kind, classes]
    queue[:, :, -1] = np.where(gets > 0, added.queue, -1)
    load_count[:, :, -1] = np.diff(added.start)
    if layers == 3:
        launched = (gets > 0) & (added.issue >= 0)
        latency_s[:, :, 1] = np.where(launched, added.launch_s, 0.0)
        queue[:, :, 1] = np.where(launched, added.issue, -1)
    of_load = np.repeat(classes, np.diff(added.start))
    sums = added.weight[kind[:, :, of_load], np.arange(len(of_load))].reshape(repeats, -1)
    load_weight = np.concatenate([np.broadcast_to(weights, (repeats, len(weights))), sums], axis=1).ravel()
    return CollectedRows(
        work.ravel(), latency_s.ravel(), rate_limit.ravel(), queue.ravel(), load_count.ravel(),
        np.tile(np.concatenate([resources, added.resource]), repeats), load_weight, [],
    )  # fmt: skip


def joined(blocks: Sequence[CollectedRows]) -> Activities:
    """The rows of all blocks, one after the other."""
    load_count = np.concatenate([block.load_count for block in blocks])
    load_start = np.zeros(len(load_count) + 1, np.int64)
    np.cumsum(load_count, out=load_start[1:])
    dep_start = np.zeros(len(load_count) + 1, np.int64)
    edges = [edge for block in blocks for edge in block.edges]
    for rows, _ in edges:
        dep_start[1:] += np.bincount(rows.ravel(), minlength=len(load_count))
    np.cumsum(dep_start, out=dep_start)
    dep = np.empty(dep_start[-1], np.int32)
    place = dep_start[:-1].copy()
    for rows, waits in edges:
        # No row stands twice in one set of edges, but for the one that waits for all starts.
        flat = rows.ravel()
        turn = np.arange(flat.size) if flat.size > 1 and flat[0] == flat[1] else 0
        dep[place[flat] + turn] = waits.ravel()
        place[flat] += 1 if np.isscalar(turn) else flat.size
    return Activities(
        work=np.concatenate([block.work for block in blocks]),
        latency_s=np.concatenate([block.latency_s for block in blocks]),
        rate_limit=np.concatenate([block.rate_limit for block in blocks]),
        queue=np.concatenate([block.queue for block in blocks]),
        load_start=load_start,
        load_resource=np.concatenate([block.load_resource for block in blocks]),
        load_weight=np.concatenate([block.load_weight for block in blocks]),
        dep_start=dep_start,
        dep=dep,
    )

"""A ring in windows of a few steps, where all its rows at once would not fit into memory.

What a chunk goes through is a chain: it is sent, added, sent on, and so on. Each chain has an in-order queue with one
slot, by which a window waits for the one before without an edge between batches: at the end of a window a row without
work in each chain's queue waits for what the chain did last, and holds up the row at the start of the next window that
the chain's first transfer there waits for. Launches wait for nothing but each other, so a launch ends at a known
instant: its number on its rank times its length.

A window must be there before any of its rows could start, that is before any chain has gone through the one before.
Several are submitted ahead, and whenever one is added it is checked that no chain has been through them all; if one
has, the times would not be exact, and everything starts again with twice as many windows ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.collectives.bulk.additions import Additions
from controller.collectives.bulk.loads import Loads, Numbers
from controller.collectives.bulk.phases import Walk
from controller.collectives.bulk.rows import CollectedRows, Start, joined, layers_of, own_rows, walk_rows
from controller.engine.activities import Activities
from controller.engine.engine import Engine
from controller.fabric.loads import Fabric

Queues = NDArray[np.int32]

WINDOWS_AHEAD = 3
"""Windows that are submitted at first."""


class _Starved(Exception):
    """A chain has gone through everything that was submitted."""


@dataclass(frozen=True, slots=True)
class _Window:
    """Some steps of one walk.

    Attributes:
        rows: for the engine, but for the instants of launches.
        launches: their rows.
        launched_s: when each of them ends at the earliest [s].
        last: the rows that end each chain's part of the window.
    """

    rows: Activities
    launches: Numbers
    launched_s: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    last: Numbers


def can_stream(walks: Sequence[Walk]) -> bool:
    """Whether every chunk goes round one and the same ring in all walks."""
    return all(np.array_equal(walk.following, walks[0].following) for walk in walks)


def stream(
    fabric: Fabric,
    walks: Sequence[Walk],
    loads: Sequence[Loads],
    start: Start,
    added: Additions | None,
    item_bytes: int,
    connections: Sequence[Queues],
    window_rows: int,
) -> tuple[float, int]:
    """The time of a ring [s] and how many rows were simulated.

    Args:
        fabric: its resources and queues.
        walks, loads, start, added, item_bytes, connections: as for `rows.activities`.
        window_rows: about how many rows a window has.
    """
    ahead = WINDOWS_AHEAD
    while True:
        try:
            return _stream(fabric, walks, loads, start, added, item_bytes, connections, window_rows, ahead)
        except _Starved:
            ahead *= 2


def _stream(
    fabric: Fabric,
    walks: Sequence[Walk],
    loads: Sequence[Loads],
    start: Start,
    added: Additions | None,
    item_bytes: int,
    connections: Sequence[Queues],
    window_rows: int,
    ahead: int,
) -> tuple[float, int]:
    engine = Engine()
    engine.add_resources(fabric.capacity)
    engine.add_queues(fabric.slots)
    open_connections(engine, connections, len(fabric.slots))
    pieces, count = walks[0].owned.shape
    chains = engine.add_queues(np.ones(pieces * count, np.int32)).reshape(pieces, count)
    rows = 0
    if start.start_s.any():
        engine.run(until_s=float(start.start_s.max()))
    if start.copied.size:
        copies = _copies(start, chains, item_bytes)
        engine.submit(copies)
        rows += copies.count
    left = _windows(walks, loads, start, added, item_bytes, connections, window_rows, chains)
    submitted: deque[tuple[int, _Window]] = deque()
    more = True
    while more or submitted:
        while more and len(submitted) < ahead:
            window = next(left, None)
            if window is None:
                more = False
                break
            if submitted and not np.isnan(engine.end_at(submitted[-1][0])[submitted[-1][1].last]).all():
                raise _Starved
            latency_s = window.rows.latency_s
            latency_s[window.launches] = np.maximum(window.launched_s - engine.now, 0.0)
            submitted.append((engine.submit(window.rows), window))
            rows += window.rows.count
        if submitted:
            ticket, _ = submitted[0]
            engine.run(tickets=(ticket,))
            if more or len(submitted) > 1:
                if len(submitted) == 1:
                    raise _Starved
                engine.release(ticket)
            submitted.popleft()
    engine.run()
    return engine.now, rows


def _windows(
    walks: Sequence[Walk],
    loads: Sequence[Loads],
    start: Start,
    added: Additions | None,
    item_bytes: int,
    connections: Sequence[Queues],
    window_rows: int,
    chains: Queues,
) -> Iterator[_Window]:
    """All windows in order."""
    pieces, count = chains.shape
    chain = np.arange(count)  # that a rank's transfer of the step belongs to
    launched = np.zeros(count, np.int64)  # additions so far, by rank
    for walk, each, connection in zip(walks, loads, connections, strict=True):
        layers = layers_of(walk, added)
        per_step = pieces * layers * count
        owner = walk.preceding.astype(np.int64) if walk.reduces else np.arange(count)
        for first in range(0, walk.steps, max(1, window_rows // per_step)):
            steps = min(max(1, window_rows // per_step), walk.steps - first)
            sizes, of_chain = np.empty((steps, pieces, count), np.int64), np.empty((steps, count), np.int64)
            for step in range(steps):
                sizes[step], of_chain[step] = walk.owned[:, owner], chain
                owner, chain = owner[walk.preceding], chain[walk.preceding]
            block = walk_rows(walk, each, added, sizes, item_bytes, connection)
            rows = np.arange(steps * per_step).reshape(steps, pieces, layers, count)
            sends, sums = rows[:, :, 0], rows[:, :, -1]
            opens, last = rows.size + np.arange(2 * pieces * count).reshape(2, pieces, count)
            block.edges.append((sends[0], opens))
            launches, launched_s = np.zeros(0, np.int64), np.zeros(0)
            if walk.reduces:
                block.edges += [(sends[1:], sums[:-1]), (sums, sends[:, :, walk.preceding])]
                if layers == 3 and added is not None:
                    block.edges.append((sums, rows[:, :, 1]))
                    there = (sizes[:, :, walk.preceding] > 0) & (added.issue >= 0)
                    number = launched + np.cumsum(there.reshape(-1, count), axis=0).reshape(there.shape)
                    launched = launched + there.sum(axis=(0, 1))
                    launches = rows[:, :, 1][there]
                    launched_s = (number * added.launch_s)[there]
                    block.queue[launches] = -1
            else:
                block.edges.append((sends[1:], sends[:-1][:, :, walk.preceding]))
            # The chain that a rank sends first it has from before; `chain` is now the one that it would send next.
            first_rows = _holds(chains[:, of_chain[0]].ravel())
            ends = sums[-1] if walk.reduces else sends[-1][:, walk.preceding]
            blocks = [block, first_rows, _holds(chains[:, chain].ravel(), last.ravel(), ends.ravel())]
            if walk.reduces and start.copies_sums and first + steps == walk.steps:
                blocks.append(_copied_sums(walk, start, item_bytes, rows.size, ends))
                last_copies = rows.size + 2 * ends.size + np.arange(ends.size)
                blocks[2].edges[:] = [(last.ravel(), last_copies)]
            yield _Window(
                joined(blocks),
                launches,
                launched_s,
                last.ravel(),
            )


def _copied_sums(walk: Walk, start: Start, item_bytes: int, first: int, sums: Numbers) -> CollectedRows:
    """Copies of the sums of a walk's last window, behind its `first` rows and those that hold up chains."""
    block = own_rows(walk, start, item_bytes)
    block.edges.append((first + 2 * sums.size + np.arange(sums.size), sums.ravel()))
    return block


def open_connections(engine: Engine, connections: Sequence[Queues], first: int) -> None:
    """Adds the queues of the connections, which are numbered from `first` on."""
    last = max((int(each.max()) for each in connections), default=first - 1)
    if last >= first:
        engine.add_queues(np.ones(last + 1 - first, np.int32), pipelined=True)


def _holds(queue: Queues, rows: Numbers | None = None, waits: Numbers | None = None) -> CollectedRows:
    """Rows without work: each is held up by its queue, and holds it up until what it waits for has ended."""
    none, count = np.zeros(0, np.int32), len(queue)
    free = np.zeros(count), np.zeros(count), np.full(count, np.inf)
    return CollectedRows(
        *free,
        queue,
        np.zeros(count, np.int64),
        none,
        np.zeros(0),
        [] if rows is None or waits is None else [(rows, waits)],
    )


def _copies(start: Start, chains: Queues, item_bytes: int) -> Activities:
    """Every rank's own chunk to its output, and a row in each chain's queue that waits for it."""
    each, count = start.copy_loads, len(start.copied)
    assert each is not None, "copies load something"
    block = CollectedRows(
        (start.copied * item_bytes).astype(np.float64),
        np.where(start.copied > 0, each.latency_s, 0.0),
        np.minimum(each.rate_limit, start.own_bytes_per_s),
        np.full(count, -1, np.int32),
        np.diff(each.start),
        each.resource,
        each.weight,
        [],
    )
    rows = count + np.arange(chains.size)
    return joined([block, _holds(chains.ravel(), rows, np.tile(np.arange(count), len(chains)))])

"""all_to_all as engine arrays: every rank sends one block to every other, in one go or in rounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from controller.collectives.bulk.kinds import kind_pairs
from controller.collectives.bulk.loads import Loads, Numbers, Places
from controller.collectives.bulk.phases import split
from controller.collectives.call import Call
from controller.engine.activities import Activities

NAMES = ("direct", "pairwise")
"""Algorithms of all_to_all that are here."""


def exchange(
    call: Call, places: Places, start_s: float, *, in_rounds: bool, folded: bool, own_bytes_per_s: float = np.inf
) -> Activities:
    """Copies of every rank's own block, then the block for the rank one further on, two further on, and so on.

    Args:
        call: all_to_all.
        places: of its ranks.
        start_s: time that a protocol takes to start [s]; 0 without one.
        in_rounds: whether a rank waits for its blocks of one round before the next one.
        folded: whether transfers that are alike are one, where there are no rounds.
        own_bytes_per_s: at which the channels of a library copy a rank's own block, before they send [bytes/s]; inf
            without a library.
    """
    size = call.world_size
    blocks = split(np.array([call.count]), size)[:, 0]
    if folded and not in_rounds and (pairs := kind_pairs(places, blocks)) is not None:
        work, loads = (pairs.elements * call.item_bytes).astype(np.float64), pairs.loads
        edges = np.zeros(len(work) + 1, np.int64), np.zeros(0, np.int32)
        edges, loads = _copied_first(edges, loads, pairs.source, pairs.is_own, own_bytes_per_s)
        return _rows(work, loads, *edges, start_s)
    ranks = np.arange(size, dtype=np.int32)
    source = np.tile(ranks, size)
    target = (source + np.repeat(ranks, size)) % size
    if blocks[-1] == 0:
        there = blocks[target] > 0
        source, target = source[there], target[there]
    none = np.zeros(len(source) + 1, np.int64), np.zeros(0, np.int32)
    edges = _rounds(source, target, size) if in_rounds else none
    loads = places.transfers(source, target)
    edges, loads = _copied_first(edges, loads, source.astype(np.int64), source == target, own_bytes_per_s)
    return _rows((blocks[target] * call.item_bytes).astype(np.float64), loads, *edges, start_s)


def _copied_first(
    edges: tuple[Numbers, NDArray[np.int32]],
    loads: Loads,
    source: Numbers,
    is_own: NDArray[np.bool_],
    own_bytes_per_s: float,
) -> tuple[tuple[Numbers, NDArray[np.int32]], Loads]:
    """Edges and loads where the channels of a library copy a rank's own block first.

    Args:
        edges: dependencies of each row in CSR form.
        loads: of each row.
        source: rank or kind of ranks that each row sends from (n).
        is_own: rows that are such a copy (n).
        own_bytes_per_s: at which they copy [bytes/s].
    """
    if own_bytes_per_s == np.inf:
        return edges, loads
    copy_of = np.full(int(source.max(initial=0)) + 1, -1, np.int64)
    copy_of[source[is_own]] = np.flatnonzero(is_own)
    waits = np.where(is_own, -1, copy_of[source])
    there = waits >= 0
    start = edges[0] + np.concatenate([np.zeros(1, np.int64), np.cumsum(there)])
    dep = np.empty(start[-1], np.int32)
    is_copy = np.zeros(len(dep), bool)
    is_copy[start[:-1][there]] = True
    dep[is_copy], dep[~is_copy] = waits[there], edges[1]
    limit = np.where(is_own, np.minimum(loads.rate_limit, own_bytes_per_s), loads.rate_limit)
    return (start, dep), replace(loads, rate_limit=limit)


def _rounds(source: NDArray[np.int32], target: NDArray[np.int32], size: int) -> tuple[Numbers, NDArray[np.int32]]:
    """For each block the ones of the sender's and of the receiver's last round in which they had one."""
    distance = (target.astype(np.int64) - source) % size
    first = np.searchsorted(distance, np.arange(size + 1))
    done: list[NDArray[np.int32]] = [np.full(size, -1, np.int32), np.full(size, -1, np.int32)]
    counts, waits = np.zeros(len(source) + 1, np.int64), []
    for start, stop in zip(first[1:-1].tolist(), first[2:].tolist(), strict=True):
        near, far = source[start:stop], target[start:stop]
        columns = np.stack([done[0][near], done[1][near], done[0][far], done[1][far]], axis=1)
        # With two ranks the sender's block and the receiver's are the same.
        for column in range(1, 4):
            earlier = columns[:, :column] == columns[:, column : column + 1]
            columns[earlier.any(axis=1), column] = -1
        there = columns >= 0
        counts[start + 1 : stop + 1] = there.sum(axis=1)
        waits.append(columns[there])
        rows = np.arange(start, stop, dtype=np.int32)
        sent, came = np.full(size, -1, np.int32), np.full(size, -1, np.int32)
        sent[near], came[far] = rows, rows
        had = (sent >= 0) | (came >= 0)
        done = [np.where(had, sent, done[0]), np.where(had, came, done[1])]
    return np.cumsum(counts), np.concatenate([*waits, np.zeros(0, np.int32)]).astype(np.int32)


def _rows(
    work: NDArray[np.float64], loads: Loads, dep_start: Numbers, dep: NDArray[np.int32], start_s: float
) -> Activities:
    count = len(work)
    latency_s, rate_limit = loads.latency_s, loads.rate_limit
    load_start = loads.start
    if start_s > 0.0:
        # One row more in front, which everything without a wait waits for.
        waits = np.diff(dep_start)
        alone = waits == 0
        every = np.concatenate([[0, 0], np.cumsum(waits + alone)])
        moved = np.zeros(every[-1], np.int32)
        is_start = np.zeros(len(moved), bool)
        is_start[every[1:-1][alone]] = True
        moved[~is_start] = dep + 1
        work, latency_s = np.append(0.0, work), np.append(start_s, latency_s)
        rate_limit, load_start = np.append(np.inf, rate_limit), np.append(0, load_start)
        dep_start, dep, count = every, moved, count + 1
    return Activities(
        work=work,
        latency_s=latency_s,
        rate_limit=rate_limit,
        queue=np.full(count, -1, np.int32),
        load_start=load_start,
        load_resource=loads.resource,
        load_weight=loads.weight,
        dep_start=dep_start,
        dep=dep,
    )

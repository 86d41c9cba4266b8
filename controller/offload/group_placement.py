"""Where the tensor groups of offloaded fine-tuning lie: in DRAM, interleaved with CXL cards, or striped over them.

Groups have priorities: what the optimizer touches by load and store first (momentum, variance, master gradients, master
weights), then what GPUs only copy (compute weights, checkpoints, compute gradients). Placement is by bytes alone and
knows no time.

    cxl_aware(groups, dram, cards):
        for group in order of priority:
            if it fits into what is left of DRAM:     DRAM
            else if any DRAM is left:                 interleave DRAM and all cards,
                                                      DRAM gets min(left, size / (1 + cards))
            else:                                     stripe over all cards

    naive_interleaving: every group page by page in turn over DRAM and all cards, by weights, until a node is full
    local_only:         everything in DRAM

Source: the authors' code, `cxl_aware_allocator.py`. Pages are not told apart: a group that is interleaved has its
shares everywhere, so that any part of it lies on its nodes in the same proportion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

DRAM = 0
"""Index of DRAM among the nodes; cards are 1, 2, ..."""


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """One kind of tensor of the whole model.

    Attributes:
        name: ``momentum``, ``checkpoints``, ...
        nbytes: of all its tensors [bytes].
        priority: lower ones choose first.
    """

    name: str
    nbytes: int
    priority: int


@dataclass(frozen=True, slots=True)
class Nodes:
    """Memory nodes that a placement may use.

    Attributes:
        room: of each, DRAM first, then the cards [bytes].
        weights: pages in turn on DRAM and on each card.
    """

    room: tuple[int, ...]
    weights: tuple[int, int] = (1, 1)

    @property
    def cards(self) -> int:
        """How many cards there are."""
        return len(self.room) - 1


Placed = dict[str, tuple[int, ...]]
"""TensorGroup to its bytes on every node, DRAM first."""


def local_only(groups: Sequence[TensorGroup], nodes: Nodes) -> Placed:
    """Everything in DRAM, whether it fits or not: what does not fit ends the run where it is placed."""
    return {group.name: (group.nbytes, *(0,) * nodes.cards) for group in groups}


def naive_interleaving(groups: Sequence[TensorGroup], nodes: Nodes) -> Placed:
    """Every group over all nodes in turn; a node that is full takes no more pages and the others go on."""
    left = list(nodes.room)
    placed: Placed = {}
    for group in groups:
        taken = _in_turn(group.nbytes, left, (nodes.weights[0], *(nodes.weights[1],) * nodes.cards))
        placed[group.name] = tuple(taken)
        left = [room - share for room, share in zip(left, taken, strict=True)]
    return placed


def cxl_aware(groups: Sequence[TensorGroup], nodes: Nodes) -> Placed:
    """Latency first: the greedy above."""
    left, cards = nodes.room[DRAM], nodes.cards
    dram_weight, card_weight = nodes.weights
    placed: Placed = {}
    for group in sorted(groups, key=lambda group: group.priority):
        if group.nbytes <= left or not cards:
            here = group.nbytes
        elif left > 0:
            here = min(left, group.nbytes * dram_weight // (dram_weight + cards * card_weight))
        else:
            here = 0
        placed[group.name] = (here, *_even(group.nbytes - here, cards))
        left = max(0, left - here)
    return placed


PLACEMENTS: Mapping[str, Callable[[Sequence[TensorGroup], Nodes], Placed]] = {
    "local_only": local_only,
    "naive_interleaving": naive_interleaving,
    "cxl_aware": cxl_aware,
}
"""By the name that ``--placement`` takes."""


def _even(nbytes: int, parts: int) -> tuple[int, ...]:
    """`nbytes` in `parts` that differ by one byte at most."""
    return tuple(nbytes * (part + 1) // parts - nbytes * part // parts for part in range(parts))


def _in_turn(nbytes: int, room: Sequence[int], weights: Sequence[int]) -> list[int]:
    """Bytes on each node when pages go round; what is left when all are full goes on round all nodes."""
    taken, open_nodes = [0] * len(room), [node for node, space in enumerate(room) if space > 0]
    rest = nbytes
    while rest:
        turn = open_nodes or list(range(len(room)))
        total = sum(weights[node] for node in turn)
        # As far as the first of them goes that fills up, or to the end.
        full_at = min((room[node] - taken[node]) / weights[node] for node in turn) if open_nodes else float("inf")
        step = rest if rest <= full_at * total else int(full_at * total)
        shares = _weighted(step, [weights[node] for node in turn])
        for node, share in zip(turn, shares, strict=True):
            if open_nodes:
                share = min(share, room[node] - taken[node])
            taken[node] += share
            rest -= share
        open_nodes = [node for node in open_nodes if taken[node] < room[node]]
        if open_nodes and not any(shares):
            # Less than a round is left: the first node with room takes it.
            share = min(rest, room[open_nodes[0]] - taken[open_nodes[0]])
            taken[open_nodes[0]] += share
            rest -= share
            open_nodes = [node for node in open_nodes if taken[node] < room[node]]
    return taken


def _weighted(nbytes: int, weights: Sequence[int]) -> list[int]:
    """`nbytes` by weights, whole bytes, nothing lost."""
    total, done, shares = sum(weights), 0, []
    for weight in weights:
        shares.append(nbytes * (done + weight) // total - nbytes * done // total)
        done += weight
    return shares

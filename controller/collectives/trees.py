"""Reduction up a tree and broadcast down it, for any tree over the ranks and any part of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.collectives.exchange import Exchange, part
from controller.plan.ops import View
from controller.plan.ranges import Range


@dataclass(frozen=True, slots=True)
class Tree:
    """Who reports to whom.

    Attributes:
        parents: of each rank; the root's is itself.
        order: ranks, every parent before its children.
    """

    parents: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def depth(self) -> int:
        """Hops from the root to the farthest leaf."""
        depths = [0] * len(self.parents)
        for rank in self.order[1:]:
            depths[rank] = depths[self.parents[rank]] + 1
        return max(depths)

    def children(self, rank: int) -> tuple[int, ...]:
        """Ranks that report to `rank`, in order."""
        return tuple(child for child in self.order if child != rank and self.parents[child] == rank)


def tree_of(parents: Sequence[int]) -> Tree:
    """The tree with these parents; the root's is itself."""
    order = [rank for rank, parent in enumerate(parents) if rank == parent]
    for rank in order:
        order += [child for child, parent in enumerate(parents) if parent == rank and child != rank]
    return Tree(tuple(parents), tuple(order))


def even_tree(size: int, fanout: int, root: int = 0) -> Tree:
    """The tree of least depth in which every rank has at most `fanout` children, counted from `root` on."""
    parents = [0] * size
    for index in range(size):
        parents[(root + index) % size] = (root + max(index - 1, 0) // fanout) % size
    return tree_of(parents)


def inorder_tree(size: int, shift: int = 0) -> Tree:
    """The binary tree whose in-order walk is the ranks in order, turned by `shift`.

    Rank r has label ``(r + shift) mod size + 1``. Odd labels are leaves, so that of two trees whose shifts differ by
    one a rank is inside at most one.
    """
    rank_of = {(rank + shift) % size + 1: rank for rank in range(size)}
    parents = [0] * size
    for label, rank in rank_of.items():
        low = label & -label
        parent = label - low if label & (low << 1) or label + low > size else label + low
        parents[rank] = rank_of.get(parent, rank)
    return tree_of(parents)


def tree_all_reduce(exchange: Exchange, tree: Tree, pieces: Sequence[Range], channel: int = 0) -> None:
    """Sums each of `pieces` at the root of `tree` and brings the sum to every rank.

    Pieces follow each other: a rank sends one to its parent, or to a child, when the one before has left, so that a
    piece is on its way up while the next is still below. Sent at once they would share the links and arrive together.
    """
    last: dict[tuple[int, int], int] = {}

    def send(sender: int, receiver: int, source: View, destination: View, label: str) -> None:
        before = last.get((sender, receiver))
        after = [] if before is None else [before]
        last[sender, receiver] = exchange.send(source, destination, label, channel=channel, after=after)

    for start, stop in pieces:
        if start == stop:
            continue
        totals: dict[int, View] = {}
        for rank in reversed(tree.order):
            own = part(exchange.inputs[rank], start, stop)
            children = tree.children(rank)
            arrived = [part(exchange.scratch(rank, f"scratch{slot}"), start, stop) for slot in range(len(children))]
            for child, room in zip(children, arrived, strict=True):
                send(child, rank, totals[child], room, "reduce: send")
            is_root = tree.parents[rank] == rank
            totals[rank] = own
            if children:
                totals[rank] = part(exchange.outputs[rank], start, stop) if is_root else arrived[0]
                exchange.add(rank, [own, *arrived], totals[rank])
        for rank in tree.order[1:]:
            parent = tree.parents[rank]
            source = part(exchange.outputs[parent], start, stop)
            send(parent, rank, source, part(exchange.outputs[rank], start, stop), "broadcast: send")

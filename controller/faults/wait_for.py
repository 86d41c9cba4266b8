"""Who waits for whom: one graph for every shape of collective, and for the watchdog of runs that must never hang.

A node is whatever can wait: a rank, a device, an op. An edge says that one waits for the other, and in what. Who is
waited for and waits for nobody holds everybody up; in a ring, where each rank waits for the one before it, that is the
one who waits least. Several who wait for each other, and for nobody else, hold the others up together.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, TypeVar

import networkx as nx

Node = TypeVar("Node", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Wait(Generic[Node]):
    """One who waits for another.

    Attributes:
        waiter: who waits.
        awaited: for whom.
        what: in which operation, for people.
    """

    waiter: Node
    awaited: Node
    what: str = ""


class WaitForGraph(Generic[Node]):
    """Who waits for whom at one instant.

    Args:
        waits: the edges; their order means nothing.
    """

    def __init__(self, waits: Iterable[Wait[Node]]) -> None:
        self._graph: nx.DiGraph[Node] = nx.DiGraph()
        self._edges: dict[tuple[Node, Node], Wait[Node]] = {}
        for wait in sorted(waits, key=lambda each: (_place(each.waiter), _place(each.awaited), each.what)):
            if wait.waiter != wait.awaited:
                self._graph.add_edge(wait.waiter, wait.awaited)
                self._edges.setdefault((wait.waiter, wait.awaited), wait)

    @property
    def waits(self) -> tuple[Wait[Node], ...]:
        """Every edge once, in a fixed order."""
        return tuple(self._edges.values())

    def roots(self) -> tuple[tuple[Node, ...], ...]:
        """Who is waited for and waits for nobody: each alone, or with those that wait for each other."""
        found = [
            tuple(sorted(members, key=_place))
            for members in nx.strongly_connected_components(self._graph)
            if all(after in members for node in members for after in self._graph.successors(node))
        ]
        return tuple(sorted(found, key=_places))

    def held_up_by(self, node: Node) -> tuple[Node, ...]:
        """Everybody who waits for `node`, directly or through others."""
        if node not in self._graph:
            return ()
        return tuple(sorted(nx.ancestors(self._graph, node), key=_place))

    def chain(self, start: Node) -> tuple[Wait[Node], ...]:
        """The shortest way from one who waits to a root."""
        ends: Mapping[Node, None] = dict.fromkeys(node for members in self.roots() for node in members)
        if start not in self._graph or start in ends:
            return ()
        paths = nx.single_source_shortest_path(self._graph, start)
        way = min((paths[end] for end in ends if end in paths), key=lambda path: (len(path), _places(path)))
        return tuple(self._edges[pair] for pair in pairwise(way))


def _place(node: Any) -> tuple[str, Any]:
    """Where a node comes in a fixed order: numbers by value, texts by the alphabet."""
    return type(node).__name__, node


def _places(nodes: Iterable[Any]) -> list[tuple[str, Any]]:
    return [_place(node) for node in nodes]

"""What a routing policy sees and what it answers.

A policy is asked once for each plan, with every flow of the plan that has a choice, and lives as long as the run: one
that keeps account of what it gave to earlier plans can balance several jobs against each other, on the same call.

Simplification: a flow over several paths is one activity that loads each of them by its share, so its parts progress
together and its slowest path sets the pace of all. Parts of their own would end at the same instant wherever the
shares are such that the paths are equally loaded, and no later elsewhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from controller.topology.schema import Hop, Route

Shares = tuple[tuple[int, Fraction], ...]
"""(number of a path, part of the flow that takes it); the parts add up to 1."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One transfer between two devices that several equal paths join.

    Attributes:
        source, destination: devices.
        paths: every equal path, in the order of names.
        up: numbers of those whose links all work; at least one.
        size: flows with equal ones move as many bytes.
        step: flows of one step may start at the same time; a later step waits for something of an earlier one.
    """

    source: str
    destination: str
    paths: tuple[Route, ...]
    up: tuple[int, ...]
    size: Hashable = 0
    step: int = 0

    def choices(self) -> tuple[Hop, ...]:
        """The first hop in which the working paths differ, of each of them: the uplinks of the flow."""
        routes = [self.paths[number].hops for number in self.up]
        for place in range(len(routes[0])):
            if len({route[place].link.name for route in routes}) > 1:
                return tuple(route[place] for route in routes)
        return tuple(route[0] for route in routes)

    def arrival(self) -> str:
        """The vertex at which the paths have come together again: the leaf of the destination."""
        first = self.paths[self.up[0]].hops
        for back in range(1, len(first) + 1):
            if len({self.paths[number].hops[-back].link.name for number in self.up}) > 1:
                return first[-back].head.vertex
        return first[-1].head.vertex


class RoutingPolicy(Protocol):
    """Gives every flow its paths."""

    def assign(self, flows: Sequence[Flow]) -> Sequence[Shares]:
        """The shares of each flow, in the same order, over paths that are up."""

"""What collectives by the switch have in common: a group whose switch adds up or multiplies, and chunks through it.

A store to a multicast object goes up once and comes down at every rank; a load from it makes the switch read every rank
and add up on the way. A rank takes part in both with its own copy, so its data pass its own link, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.errors import BadCall
from controller.collectives.exchange import Exchange
from controller.plan.ops import View

STAGED, DIRECT = 1, 8
"""Pieces of one stage that a rank has on their way at once, through staging buffers and straight between user buffers
(the unrolled loop of a thread block); assumed, with measured times in view."""

SCATTER, GATHER = "scatter: copy in", "gather: copy out"
"""Labels of copies within a rank that the channels of a library make; a protocol holds them to its rate."""


def need_switch(exchange: Exchange, name: str, *, adds: bool, copies: bool, inside: bool = False) -> None:
    """Checks that the switch between the ranks can do what an algorithm asks of it.

    Args:
        exchange: what is to be done.
        name: of the algorithm.
        adds, copies: what it asks for.
        inside: of the switches inside of every host, not of one between all ranks.

    Raises:
        BadCall: it cannot, or not for this element type; names what is missing.
    """
    if exchange.world_size == 1:
        return
    able = exchange.group.in_hosts if inside else exchange.group.in_switch
    if able is None:
        where = "in every host" if inside else "between all ranks"
        raise BadCall(
            f"{name} needs a switch {where} that declares reduction: true or multicast: true; "
            f"use ring, or a topology whose switch does"
        )
    if adds and exchange.dtype not in able.types:
        what = f"adds {', '.join(able.types)}, not {exchange.dtype}" if able.types else "adds nothing up"
        raise BadCall(
            f"{name} needs a switch that adds {exchange.dtype} up, and the one between the ranks {what}; use ring"
        )
    if copies and not able.multicast:
        raise BadCall(f"{name} needs a switch with multicast, and the one between the ranks has none; use ring")


class Stages:
    """Adds transfers stage by stage: of one stage of one rank, `in_flight` are on their way at most.

    So pieces follow each other, and while one is stored the next is read. All at once they would share the links and
    arrive together; one at a time each would wait for the latency of the one before.
    """

    def __init__(self, exchange: Exchange, in_flight: int = DIRECT) -> None:
        self._exchange, self._in_flight = exchange, in_flight
        self._last: dict[tuple[str, int], list[int]] = {}

    def pull_sum(self, rank: int, sources: Sequence[View], destination: View) -> None:
        """`rank` reads the sum of `sources` out of the switch."""
        self._add("switch: reduce", rank, sources, [destination], "sum")

    def push_all(self, rank: int, source: View, destinations: Sequence[View]) -> None:
        """`rank` stores `source` once, and it arrives at every one of `destinations`."""
        self._add("switch: multicast", rank, [source], destinations)

    def copy(self, label: str, rank: int, source: View, destination: View) -> None:
        """`rank` copies within its memory."""
        self._add(label, rank, [source], [destination])

    def _add(self, label: str, rank: int, sources: Sequence[View], into: Sequence[View], reduction: str = "") -> None:
        if into[0].shape[-1] == 0:
            return
        last = self._last.setdefault((label, rank), [])
        after = last[-self._in_flight : len(last) - self._in_flight + 1]
        last.append(self._exchange.through_switch(sources, into, label, reduction, after))

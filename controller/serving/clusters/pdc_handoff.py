"""KV caches from prefill to decode dies over the declared plane, each from the rank that the connection map names.

A fabric that blocks nothing leaves the ports of the two dies to share: copies that meet at a die are executed together,
with their starts, and all others have the time that they take alone. Equal meetings are executed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from controller.errors import NoRoute
from controller.execute.virtual import VirtualRun
from controller.plan.ops import Buffer
from controller.plan.script import Script
from controller.serving.clusters.pdc import source_rank
from controller.serving.clusters.pdc_transport import without_links
from controller.serving.device_times.hops import HopTimes
from controller.serving.kv_movers import KvCopy
from controller.topology.graph import route
from controller.topology.schema import Topology

STRIDE = 11
"""Decode dies take requests in steps of as many, so that neighbours in time pull from different prefill ranks."""
DIGITS = 9
"""Of starts that count as equal [decimals of a second]."""


@dataclass(eq=False, slots=True)
class _Handoff:
    """A copy under way: its plane, its two dies, tokens, start, and the latest end that is known [s]."""

    number: int
    plane: int
    source: str
    destination: str
    tokens: int
    start_at: float
    end_at: float = float("inf")


class HandoffMover:
    """Implements `KvMover` for instances of dies.

    Attributes:
        met: copies that shared a die with another one.
        executed: meetings that were executed.
    """

    def __init__(
        self, planes: Sequence[Topology], groups: Sequence[tuple[str, ...]], token_bytes: int
    ) -> None:  # fmt: skip
        """Nothing moves.

        Args:
            planes: the topology with the plane that copies take, and those for dies that it does not reach.
            groups: dies of every instance.
            token_bytes: KV of a token [bytes].
        """
        self._planes, self._groups, self._token_bytes = tuple(planes), groups, token_bytes
        self._open, self._down = list(planes), frozenset[str]()
        self._runs: dict[int, VirtualRun] = {}
        self._taken = [0] * len(groups)
        self._pending: list[_Handoff] = []
        self._at_die: dict[tuple[int, str], list[_Handoff]] = {}
        self._ends: list[tuple[float, int, _Handoff]] = []
        self._alone: dict[tuple[object, ...], HopTimes] = {}
        self._memo: dict[tuple[object, ...], tuple[float, ...]] = {}
        self.met = self.executed = 0

    def reroute(self, down_links: frozenset[str]) -> None:
        """Copies that begin from now on take the links that are left; where a plane has none, the other one."""
        if down_links == self._down:
            return
        self._down = down_links
        self._open = [without_links(each, down_links) for each in self._planes]
        self._runs.clear()
        self._alone.clear()
        self._memo.clear()

    def start(self, copy: KvCopy, now: float) -> None:
        """Begins a copy to the next die of the destination."""
        dies, sources = self._groups[copy.destination], self._groups[copy.source]
        rank = self._taken[copy.destination] * STRIDE % len(dies)
        self._taken[copy.destination] += 1
        source = sources[source_rank(len(sources), 1, len(dies), rank)]
        plane = self._plane_of(source, dies[rank])
        self._pending.append(_Handoff(copy.number, plane, source, dies[rank], copy.tokens, now))

    def _plane_of(self, source: str, destination: str) -> int:
        """The first plane that joins two dies."""
        if self._down:
            for plane, topology in enumerate(self._open):
                try:
                    route(topology, source, destination)
                except NoRoute:
                    continue
                return plane
        return 0

    def next_at(self, limit: float) -> float:
        """When the first copy ends, if that is not after `limit` [s]."""
        if self._pending:
            self._resolve()
        while self._ends and self._ends[0][0] != self._ends[0][2].end_at:
            heappop(self._ends)  # a later meeting has moved its end
        return self._ends[0][0] if self._ends and self._ends[0][0] <= limit else float("inf")

    def ended(self, now: float) -> list[int]:
        """Numbers of the copies that have ended until `now`."""
        found = []
        while self._ends and self._ends[0][0] <= now:
            at, _, handoff = heappop(self._ends)
            if at != handoff.end_at:
                continue
            found.append(handoff.number)
            for die in (handoff.source, handoff.destination):
                self._at_die[handoff.plane, die].remove(handoff)
        return found

    # -- times ---------------------------------------------------------------------------------------------------------

    def _resolve(self) -> None:
        """Finds the ends of copies that have begun, and of those that they meet."""
        pending, self._pending = self._pending, []
        for handoff in pending:
            for die in (handoff.source, handoff.destination):
                self._at_die.setdefault((handoff.plane, die), []).append(handoff)
        seen: set[int] = set()
        for handoff in pending:
            if handoff.number in seen:
                continue
            together = self._meeting(handoff)
            seen.update(each.number for each in together)
            for each, end_at in zip(together, self._end_times(together), strict=True):
                if each.end_at != end_at:
                    each.end_at = end_at
                    heappush(self._ends, (end_at, each.number, each))

    def _meeting(self, first: _Handoff) -> list[_Handoff]:
        """Everybody who shares a die with `first`, or with one who does."""
        found, open_ones = {first.number: first}, [first]
        while open_ones:
            one = open_ones.pop()
            for die in (one.source, one.destination):
                for other in self._at_die[first.plane, die]:
                    if other.number not in found:
                        found[other.number] = other
                        open_ones.append(other)
        return [found[number] for number in sorted(found)]

    def _end_times(self, together: list[_Handoff]) -> tuple[float, ...]:
        if len(together) == 1:
            return (together[0].start_at + self._alone_s(together[0]),)
        self.met += len(together)
        begin = min(each.start_at for each in together)
        dies: dict[str, int] = {}
        key = tuple(
            (round(each.start_at - begin, DIGITS), each.tokens, dies.setdefault(each.source, len(dies)),
             dies.setdefault(each.destination, len(dies)), self._kind(each))
            for each in together
        )  # fmt: skip
        if key not in self._memo:
            self._memo[key] = self._executed(together, begin)
            self.executed += 1
        return tuple(begin + after_s for after_s in self._memo[key])

    def _kind(self, handoff: _Handoff) -> tuple[object, ...]:
        """What a copy's time depends on: its plane and whether it leaves the host, or its dies where links broke."""
        if self._down:
            return handoff.plane, handoff.source, handoff.destination
        devices = self._planes[0].devices
        return handoff.plane, devices[handoff.source].host == devices[handoff.destination].host

    def _alone_s(self, handoff: _Handoff) -> float:
        kind = self._kind(handoff)
        if kind not in self._alone:
            topology = self._open[handoff.plane]
            self._alone[kind] = HopTimes(topology, handoff.source, handoff.destination, self._token_bytes, 1 << 12)
        return self._alone[kind].hop_s(handoff.tokens)

    def _executed(self, together: list[_Handoff], begin: float) -> tuple[float, ...]:
        """Ends of copies that share dies, after `begin` [s]."""
        plane = together[0].plane
        if plane not in self._runs:
            self._runs[plane] = VirtualRun(self._open[plane])
        run = self._runs[plane]
        base = run.now
        under_way: dict[int, tuple[int, tuple[Buffer, Buffer]]] = {}
        ends: dict[int, float] = {}

        def until(limit: float) -> None:
            while under_way:
                ended = run.engine.run(tickets=list(under_way), until_s=limit)
                if not ended:
                    return
                for done in run.advance(ended):
                    number, buffers = under_way.pop(done.ticket.number)
                    ends[number] = done.end_at - base
                    for buffer in buffers:
                        run.release(buffer)

        for each in sorted(together, key=lambda one: (one.start_at, one.number)):
            start_at = base + each.start_at - begin
            until(start_at)
            if start_at > run.now:
                run.engine.run(until_s=start_at)
            script = Script(f"kv {each.number}")
            here, there = (
                Buffer(die, "hbm", f"kv{each.number}.{side}", "uint8", (max(1, each.tokens * self._token_bytes),))
                for die, side in ((each.source, "from"), (each.destination, "to"))
            )
            script.move(here.view(), there.view(), "kv")
            for buffer in (here, there):
                run.place(buffer, written=True)
            under_way[run.submit(script.plan()).number] = each.number, (here, there)
        until(float("inf"))
        return tuple(ends[each.number] for each in together)

"""Where the collectives of all players meet: one row for each call, when everybody has come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.capture.errors import RanksDisagree
from controller.capture.timing.collective_times import CollectiveCost, CollectiveTimes, devices_of
from controller.capture.timing.rank_parts import RankParts
from controller.capture.timing.rows import Rows
from controller.capture.trace import Event
from node.hardware.device import DeviceSpec


@dataclass(frozen=True, slots=True)
class Member:
    """A player as its collectives see it.

    Attributes:
        rank: global.
        groups: name of a process group to its global ranks.
        spec: of its device.
        memory_bytes_per_s: that its memory gives to kernels [bytes/s].
        parts: resources of its device.
    """

    rank: int
    groups: Mapping[str, tuple[int, ...]]
    spec: DeviceSpec
    memory_bytes_per_s: float
    parts: RankParts


@dataclass(frozen=True, slots=True)
class _Arrival:
    player: Member
    event: Event
    arrive: int
    leave: int


@dataclass
class Meetings:
    """Pairs calls of players by group and place in its sequence, messages by sender and receiver.

    Attributes:
        rows: of all players.
        times: of collectives.
        devices: of all ranks.
        players: global rank to its player's index.
    """

    rows: Rows
    times: CollectiveTimes
    devices: tuple[str, ...]
    players: dict[int, int]
    costs: dict[int, CollectiveCost] = field(default_factory=dict)
    row_of: dict[int, int] = field(default_factory=dict)
    """The row of a call, by the row at which a player leaves it."""
    _came: dict[object, list[_Arrival]] = field(default_factory=lambda: defaultdict(list))
    _counts: dict[object, int] = field(default_factory=lambda: defaultdict(int))
    _order: list[object] = field(default_factory=list)

    def come(self, player: Member, event: Event, arrive: int, leave: int) -> None:
        """A player has asked for a collective."""
        ranks = player.groups[event[1]]
        me = player.rank
        key: object
        if event[2] in ("send", "recv"):
            peer = ranks[event[9]["peer"]]
            ends = (me, peer) if event[2] == "send" else (peer, me)
            key = ("message", ends, self._count((me, event[2], ends)))
        else:
            key = ("group", ranks, self._count((me, ranks)))
        if key not in self._came:
            self._order.append(key)
        self._came[key].append(_Arrival(player, event, arrive, leave))

    def close(self) -> None:
        """Adds the row of every call, once all players have asked for everything.

        Raises:
            RanksDisagree: a call that some player of its group never makes, or makes otherwise.
        """
        for key in self._order:
            arrivals = self._came[key]
            if isinstance(key, tuple) and key[0] == "message":
                self._message(key[1], arrivals)
            else:
                self._group_call(arrivals)

    def _count(self, key: object) -> int:
        self._counts[key] += 1
        return self._counts[key]

    def _group_call(self, arrivals: list[_Arrival]) -> None:
        first = arrivals[0]
        ranks = first.player.groups[first.event[1]]
        here = {each.player.rank for each in arrivals}
        missing = [rank for rank in ranks if rank in self.players and rank not in here]
        different = next((each for each in arrivals if _asked(each) != _asked(first)), None)
        if different is not None or missing:
            raise RanksDisagree(_dispute(first, different, missing))
        _, _, kind, dtype, given, got = first.event[:6]
        cost = self.times.of(kind, devices_of(ranks, self.devices), dtype, max(given, got))
        self._add(cost, arrivals)

    def _message(self, ends: tuple[int, int], arrivals: list[_Arrival]) -> None:
        first = arrivals[0]
        if len(arrivals) == 1 and all(rank in self.players for rank in ends):
            other = ends[1] if first.player.rank == ends[0] else ends[0]
            raise RanksDisagree(_dispute(first, None, [other]))
        source, destination = devices_of(ends, self.devices)
        cost = self.times.message(source, destination, max(first.event[4], first.event[5]))
        self._add(cost, arrivals)

    def _add(self, cost: CollectiveCost, arrivals: list[_Arrival]) -> None:
        loads: list[tuple[int, float]] = []
        for each in arrivals:
            spec, parts = each.player.spec, each.player.parts
            units = next(iter(spec.computes.values())).constants.get("sm_count", 0.0)
            loads.append((parts.compute, cost.sms / units if units else 0.0))
            memory = each.player.memory_bytes_per_s
            if cost.time_s:
                loads.append((parts.memory, min(1.0, cost.moved_bytes / cost.time_s / memory)))
            loads.append((parts.outside if cost.hosts > 1 else parts.inside, 1.0))
        row = self.rows.shared(cost.time_s, loads, [each.arrive for each in arrivals])
        self.costs[row] = cost
        for each in arrivals:
            self.row_of[each.leave] = row
            self.rows.after[each.leave] = (*self.rows.after[each.leave], row)


def _asked(arrival: _Arrival) -> tuple[object, ...]:
    return tuple(arrival.event[2:4])


def _dispute(first: _Arrival, other: _Arrival | None, missing: list[int]) -> str:
    def says(each: _Arrival) -> str:
        place = each.event[10] or "an unknown line"
        return f"rank {each.player.rank} is in {each.event[2]} of {each.event[3]} ({place})"

    if other is not None:
        return f"the ranks would wait for each other for ever: {says(first)}, {says(other)}; make the calls agree"
    return (
        f"the ranks would wait for each other for ever: {says(first)}, and rank {missing[0]} never comes to it; make "
        f"every rank of the group call it"
    )

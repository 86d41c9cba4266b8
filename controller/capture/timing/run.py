"""Plays the captured steps on the engine and measures the last one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from controller.capture.lowering.kernels import CallCosts
from controller.capture.timing.collective_times import CollectiveCost, CollectiveTimes
from controller.capture.timing.faults import RankLost, lost_device, part_changes
from controller.capture.timing.meeting import Meetings
from controller.capture.timing.player import Note, Player
from controller.capture.timing.rank_parts import RankParts
from controller.capture.timing.rows import Rows
from controller.capture.trace import RankTrace
from controller.collectives.group import Group
from controller.engine import Engine, EngineDeadlock
from controller.topology.schema import Topology


@dataclass(frozen=True)
class PlayedSteps:
    """What the engine found.

    Attributes:
        step_s: time of each played step, from the end of the one before to its own end [s].
        start, end: of every row [s].
        notes: rows of each player that reports speak of.
        costs: row of a collective to its cost alone.
        meeting_row: row at which a rank leaves a collective to the row of the collective.
        measured_from, measured_to: of the last step [s].
    """

    step_s: tuple[float, ...]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    notes: tuple[Note, ...]
    costs: Mapping[int, CollectiveCost]
    meeting_row: Mapping[int, int]
    measured_from: float
    measured_to: float

    def span(self, note: Note) -> tuple[float, float]:
        """When it went on: a collective from the arrival of the last rank on [s]."""
        row = self.meeting_row.get(note.row, note.row)
        return float(self.start[row]), float(self.end[row])


def _run(engine: Engine, ticket: int, topology: Topology, places: Mapping[str, RankParts]) -> None:
    """Lets the engine run to its end, through the faults of the topology.

    Raises:
        RankLost: a fault takes a device away for good.
    """
    for change in part_changes(topology, places):
        if engine.run(tickets=(ticket,), until_s=change.at_s):
            return
        for resource, capacity in change.capacity.items():
            engine.set_capacity(resource, capacity)
    try:
        engine.run()
    except EngineDeadlock as error:
        device = lost_device(topology, engine.now, list(places))
        if not device:
            raise
        raise RankLost(f"{device} is lost by {engine.now:.6g} s, and no step ends after it") from error


def play(
    topology: Topology, group: Group, traces: Mapping[int, RankTrace], times: CollectiveTimes | None = None
) -> PlayedSteps:
    """Times the steps after the first of the captured ranks, which each stand for those like them.

    Args:
        topology: as declared.
        group: all ranks.
        traces: of the players, by rank.
        times: of collectives on this topology that are known already; None for none.
    """
    rows, queues = Rows(), dict[object, int]()
    players_of = {rank: index for index, rank in enumerate(traces)}
    times = CollectiveTimes(topology) if times is None else times
    meetings = Meetings(rows, times, group.devices, players_of)
    costs_of: dict[int, CallCosts] = {}
    players: list[Player] = []
    for index, (rank, trace) in enumerate(traces.items()):
        spec = topology.devices[group.devices[rank]].spec
        costs = costs_of.setdefault(id(spec), CallCosts(spec))
        parts = RankParts(*range(5 * index, 5 * index + 5))
        players.append(Player(index, trace, costs, rows, queues, parts, meetings))
    steps = min(trace.steps for trace in traces.values())
    for step in range(1, steps):
        for player in players:
            player.play(player.trace.step(step), step)
    meetings.close()
    engine = Engine()
    engine.add_resources(np.ones(5 * len(players)))
    engine.add_queues(np.ones(len(queues), np.int32))
    ticket = engine.submit(rows.activities())
    places = {group.devices[rank]: player.parts for rank, player in zip(traces, players, strict=True)}
    _run(engine, ticket, topology, places)
    start, end = engine.start_at(ticket), engine.end_at(ticket)
    ends = [0.0]
    for number in range(steps - 1):
        ends.append(max(float(end[row]) for player in players for row in player.step_rows[number]))
    notes = tuple(note for player in players for note in player.notes)
    return PlayedSteps(
        tuple(float(after - before) for before, after in pairwise(ends)),
        start, end, notes, meetings.costs, meetings.row_of, ends[-2], ends[-1],
    )  # fmt: skip

"""One captured rank on its device: its events become rows."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from controller.capture.lowering.kernels import CallCosts
from controller.capture.timing.host import AHEAD, COLLECTIVE_CALLS, VIEW_SHARE
from controller.capture.timing.meeting import Meetings, Member
from controller.capture.timing.rank_parts import RankParts
from controller.capture.timing.rows import Rows
from controller.capture.trace import Event, RankTrace
from node.hardware.device import DeviceSpec


@dataclass(frozen=True, slots=True)
class Note:
    """What a row is, for reports.

    Attributes:
        row: its number.
        player: index of the rank.
        stream: number of the stream; -1 for the host.
        name: of the call.
        kind: ``kernel``, ``collective``, ``copy`` or ``host``.
        step: number of the step.
        flop: of products and attention [FLOP].
        is_backward: whether autograd's backward asked for it.
        is_known: whether the table has the call.
    """

    row: int
    player: int
    stream: int
    name: str
    kind: str
    step: int
    flop: float = 0.0
    is_backward: bool = False
    is_known: bool = True


class Player:
    """Writes the rows of one rank, in the order in which its host asks.

    Args:
        index: of the player.
        trace: of the rank.
        costs: of calls on its device.
        rows: of all players.
        first_queue: number of its first queue; `queues` of them follow.
        parts: resources of its device.
        meetings: where collectives of all players meet.
    """

    def __init__(
        self, index: int, trace: RankTrace, costs: CallCosts, rows: Rows, queue_of: dict[object, int], parts: RankParts,
        meetings: Meetings,
    ) -> None:  # fmt: skip
        self.index, self.trace, self.costs, self.parts = index, trace, costs, parts
        self._rows, self._meetings = rows, meetings
        self._queue_of = queue_of
        self._member = Member(trace.rank, trace.groups, costs.spec, costs.reached_bytes_per_s, parts)
        spec: DeviceSpec = costs.spec
        issue = spec.issue_queue
        self._call_s = issue.launch_s if issue is not None else 0.0
        self._copy_rate = max(
            (port.write_bytes_per_s for name, port in spec.ports.items() if name == "pcie"), default=0.0
        )
        self._last: dict[object, int] = {}
        self._pending: dict[object, list[int]] = {}
        self._events: dict[int, tuple[int, ...]] = {}
        self._works: dict[int, tuple[int, ...]] = {}
        self._host_waits: list[int] = []
        self._ahead: deque[int] = deque()
        self._batch: list[Event] | None = None
        self._batches: dict[str, tuple[int, ...]] = {}
        self._step = 0
        self.notes: list[Note] = []
        self.step_rows: list[tuple[int, ...]] = []

    def play(self, events: list[Event], step: int) -> None:
        """Adds the rows of one step."""
        self._step = step
        for event in events:
            kind = event[0]
            if kind == "kernel":
                self._kernel(event)
            elif kind == "collective":
                self._collective(event)
            elif kind == "record":
                self._events[event[1]] = self._ends(event[2])
            elif kind == "wait":
                self._wait(event[2], self._events.get(event[1], ()))
            elif kind == "join":
                self._wait(event[2], self._works.get(event[1], ()))
            elif kind == "sync":
                self._sync(event)
            elif kind == "copy":
                self._copy(event)
            elif kind == "coalesce":
                self._batch = []
            elif kind == "coalesced":
                batch, self._batch = self._batch or [], None
                self._works[event[2]] = self._together(batch)
        self.step_rows.append(tuple(row for stream in list(self._last) for row in self._ends(stream)))

    def _queue(self, name: object) -> int:
        return self._queue_of.setdefault((self.index, name), len(self._queue_of))

    def _ends(self, stream: object) -> tuple[int, ...]:
        """Rows after which everything that the stream was told so far has ended."""
        last = self._last.get(stream)
        return (*(() if last is None else (last,)), *self._pending.get(stream, ()))

    def _wait(self, stream: object, rows: tuple[int, ...]) -> None:
        if rows:
            self._pending.setdefault(stream, []).extend(rows)

    def _host(self, seconds: float) -> int:
        """The host works, and cannot be further ahead of the device than its launches may be."""
        waits, self._host_waits = self._host_waits, []
        if len(self._ahead) >= AHEAD:
            waits.append(self._ahead.popleft())
        return self._rows.waiting(seconds, self._queue("host"), waits)

    def _on(self, stream: object, launch: int) -> list[int]:
        return [launch, *self._pending.pop(stream, ())]

    def _ran(self, stream: object, row: int) -> None:
        self._last[stream] = row
        self._ahead.append(row)

    def _kernel(self, event: Event) -> None:
        call = self.trace.signatures[event[1]]
        cost, stream = self.costs.of(call), event[2]
        launch = self._host(self._call_s * (len(cost.kernels) + VIEW_SHARE * event[3]))
        after = self._on(stream, launch)
        flop = cost.flop
        for kernel in cost.kernels:
            loads = ((self.parts.memory, kernel.memory_ratio), (self.parts.compute, kernel.compute_ratio))
            row = self._rows.kernel(kernel.time_s, kernel.start_s, self._queue(stream), loads, after)
            after = []
            self._ran(stream, row)
            self._note(row, stream, call.name, "kernel", flop, bool(event[4]), cost.is_known)
            flop = 0.0

    def _copy(self, event: Event) -> None:
        _, direction, nbytes, stream, goes_on, _ = event
        launch = self._host(self._call_s)
        seconds = nbytes / self._copy_rate if self._copy_rate else 0.0
        row = self._rows.kernel(
            seconds, 0.0, self._queue(stream), ((self.parts.copies, 1.0),), self._on(stream, launch)
        )
        self._ran(stream, row)
        self._note(row, stream, f"copy {direction}", "copy")
        if not goes_on:
            self._host_waits.append(row)

    def _sync(self, event: Event) -> None:
        streams = [event[2]] if event[1] == "stream" else list(self._last)
        if event[1] == "event":
            self._host_waits.extend(self._events.get(event[2], ()))
            return
        if event[1] == "value":
            streams = [event[4]] if len(event) > 4 else list(self._last)
        for stream in streams:
            self._host_waits.extend(self._ends(stream))

    def _collective(self, event: Event) -> None:
        if self._batch is not None:
            self._batch.append(event)
            return
        _, group, _, _, _, _, work, stream, is_asynchronous, _, _ = event
        launch = self._host(COLLECTIVE_CALLS * self._call_s)
        own: object = ("group", group) if is_asynchronous else stream
        if event[2] in ("send", "recv"):
            own = ("pair", group, event[9]["peer"])
        after = self._on(own, launch)
        if is_asynchronous:
            after.extend(self._ends(stream))
        arrive = self._rows.waiting(0.0, self._queue(own), after)
        leave = self._rows.waiting(0.0, self._queue(own))
        self._ran(own, leave)
        self._works[work] = (leave,)
        self._meetings.come(self._member, event, arrive, leave)
        self._note(leave, self._stream_number(own), f"{event[2]} {event[1]}", "collective")

    def _together(self, batch: list[Event]) -> tuple[int, ...]:
        """Messages of one batch, which go at the same time, after those of earlier batches of the group."""
        ends: list[int] = []
        launch = self._host(COLLECTIVE_CALLS * self._call_s * max(1, len(batch)))
        earlier = [row for event in batch[:1] for row in self._batches.get(event[1], ())]
        for number, event in enumerate(batch):
            after = [launch, *earlier, *self._ends(event[7])]
            own = ("batch", event[1], number)
            arrive = self._rows.waiting(0.0, self._queue(own), after)
            leave = self._rows.waiting(0.0, self._queue(own))
            self._ran(own, leave)
            self._works[event[6]] = (leave,)
            self._meetings.come(self._member, event, arrive, leave)
            self._note(leave, self._stream_number(own), f"{event[2]} {event[1]}", "collective")
            ends.append(leave)
            self._batches[event[1]] = tuple(ends)
        return tuple(ends)

    def _stream_number(self, name: object) -> int:
        return name if isinstance(name, int) else 1000 + self._queue(name)

    def _note(
        self, row: int, stream: object, name: str, kind: str, flop: float = 0.0, is_backward: bool = False,
        is_known: bool = True,
    ) -> None:  # fmt: skip
        number = stream if isinstance(stream, int) else -1
        self.notes.append(Note(row, self.index, number, name, kind, self._step, flop, is_backward, is_known))

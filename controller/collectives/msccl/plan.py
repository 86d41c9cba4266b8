"""A proven program as a plan on real buffers.

Paper: Cowan et al., MSCCLang: Microsoft collective communication language, ASPLOS 2023; the XML of msccl-tools.
Follows: threadblocks in order, dependencies between them, messages in order on each connection.
Differs: what is sent waits in a buffer of its own at the receiver, so that a sender never waits for a receiver, where
    the runtime has a FIFO of a few slots. Threadblocks share the device's compute queue for their reductions. Out of
    place, an algorithm that is written for in place works on a copy of the input. Sizes that do not divide by the
    chunks are refused; the runtime falls back to NCCL there.
Checked by: tests/unit/controller/collectives/msccl/
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from controller.collectives.call import Call, part
from controller.collectives.errors import BadCall
from controller.collectives.msccl.order import Placed
from controller.collectives.msccl.parse import parse
from controller.collectives.msccl.program import READS, RECEIVES, SENDS, WRITES, Program
from controller.collectives.msccl.prove import prove
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan, View

SUFFIX = ".xml"


def from_file(path: str, call: Call) -> Plan:
    """The plan of a file for a call.

    Raises:
        BadCall: a file that is wrong, that is not proven to compute the collective, or that is for another group.
    """
    file = Path(path)
    stat = file.stat() if file.is_file() else None
    program = _parsed(path, 0 if stat is None else stat.st_mtime_ns, 0 if stat is None else stat.st_size)
    _check_call(program, call)
    aliased = call.in_place or (program.in_place and not program.out_of_place)
    return _Planner(program, call, aliased).plan(_proven(program, aliased))


@lru_cache(maxsize=16)
def _parsed(path: str, modified_ns: int, size: int) -> Program:
    return parse(path)


@lru_cache(maxsize=16)
def _proven(program: Program, aliased: bool) -> tuple[Placed, ...]:
    return prove(program, aliased)


def _check_call(program: Program, call: Call) -> None:
    if program.collective != call.collective:
        raise BadCall(f"{program.path} is an algorithm for {program.collective}, not for {call.collective}")
    if program.world_size != call.world_size:
        raise BadCall(f"{program.path} is for {program.world_size} ranks, and the group has {call.world_size}")
    if call.count % program.chunks:
        unit = program.chunks * call.item_bytes
        raise BadCall(
            f"{program.path} cuts the data into {program.chunks} chunks, which {call.count} {call.dtype} elements "
            f"do not divide into; take multiples of {unit} B, for example -b {unit}"
        )
    size = call.count * call.item_bytes
    if size < program.least_bytes or (program.most_bytes and size > program.most_bytes):
        most = program.most_bytes or "any number of"
        raise BadCall(
            f"{program.path} is meant for {program.least_bytes} to {most} bytes, not for {size}; see -b and -e"
        )


class _Planner:
    """Adds the ops of one program."""

    def __init__(self, program: Program, call: Call, aliased: bool) -> None:
        self._program, self._call, self._aliased = program, call, aliased
        self._elements = call.count // program.chunks
        self._build = PlanBuilder(f"{program.collective} {program.name} {call.count} {call.dtype}")
        self._sent: dict[int, View] = {}
        # Where a rank's program works, when that is neither its input nor its output as they are.
        self._working: dict[int, View] = {}

    def plan(self, steps: tuple[Placed, ...]) -> Plan:
        """The plan, ordered by what the program orders alone."""
        ends: list[tuple[int, ...]] = []
        edges: list[tuple[int, ...]] = []
        first = self._copies()
        edges += [()] * len(first)
        for index, placed in enumerate(steps):
            after = {op for earlier in placed.after for op in ends[earlier]}
            own = first.get(placed.place[0])
            if own is not None:
                after.add(own)
            made = self._ops(index, placed)
            for op in made:
                edges.append(tuple(sorted(after)))
                # What a step does besides, it does one after the other.
                after = {op}
            # Without an op of its own a step passes on what it waited for.
            ends.append(tuple(made[-1:]) or tuple(sorted(after)))
        for rank, source in self._working.items() if self._call.collective == "reduce_scatter" else ():
            start, stop = self._call.whole_chunks()[rank]
            self._build.transfer(part(source, start, stop), self._call.output(rank), label="copy")
            edges.append(
                tuple(
                    sorted({op for index, placed in enumerate(steps) if placed.place[0] == rank for op in ends[index]})
                )
            )
        built = self._build.plan()
        return Plan(built.name, built.ops, tuple(edges))

    def _copies(self) -> dict[int, int]:
        """Input to where the program works in place, when the call is out of place; the op of each rank."""
        found: dict[int, int] = {}
        call = self._call
        if self._aliased and not call.in_place:
            for rank in range(call.world_size):
                start, stop = call.whole_chunks()[rank]
                scatters = call.collective == "reduce_scatter"
                self._working[rank] = call.scratch(rank, "in-place") if scatters else call.output(rank)
                gathers = call.collective == "all_gather"
                target = part(self._working[rank], start, stop) if gathers else self._working[rank]
                found[rank] = self._build.transfer(call.input(rank), target, label="copy")
        return found

    def _view(self, rank: int, end: tuple[str, int], count: int) -> View:
        """Chunks of one of the program's buffers."""
        buffer, first = end
        call, size = self._call, self._elements
        if buffer == "s":
            whole = call.scratch(rank, "msccl", self._program.scratch[rank] * size)
        elif rank in self._working:
            whole = self._working[rank]
            if buffer == {"all_gather": "i", "reduce_scatter": "o"}.get(call.collective):
                first += call.whole_chunks()[rank][0] // size
        else:
            whole = call.output(rank) if buffer == "o" else call.input(rank)
        return part(whole, first * size, (first + count) * size)

    def _ops(self, index: int, placed: Placed) -> tuple[int, ...]:
        step, rank = placed.step, placed.place[0]
        if step.type == "nop":
            return ()
        build = self._build
        made: list[int] = []
        source = self._view(rank, step.source, step.count) if step.type in READS else None
        target = self._view(rank, step.destination, step.count) if step.type in WRITES else None
        arrived = self._sent.pop(placed.message) if step.type in RECEIVES else None
        carried = arrived if source is None else source
        if step.type in ("r", "rcs", "cpy"):
            assert target is not None and carried is not None
            if carried != target:
                made.append(build.transfer(carried, target, label=step.type))
        elif step.type != "s":
            other = arrived if arrived is not None else target
            into = target if target is not None else arrived
            assert source is not None and other is not None and into is not None
            made.append(
                build.kernel("reduce", into.buffer.device, [other, source], [into], kind="sum", label=step.type)
            )
            carried = into
        if step.type in SENDS:
            assert carried is not None
            peer = placed.block.send
            room = self._call.scratch(peer, f"fifo{index}", step.count * self._elements)
            made.append(build.transfer(carried, room, label="send"))
            self._sent[index] = room
        return tuple(made)


def is_file(name: str) -> bool:
    """Whether an algorithm's name is a file of this format."""
    return name.endswith(SUFFIX)

"""A proven program as ops over the operands of an exchange.

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

from controller.collectives.errors import BadCall
from controller.collectives.exchange import Exchange, part
from controller.collectives.msccl.order import Placed
from controller.collectives.msccl.parse import parse
from controller.collectives.msccl.program import READS, RECEIVES, SENDS, WRITES, Program
from controller.collectives.msccl.prove import prove
from controller.plan.ops import View
from node.hardware.operation import ITEM_BYTES


def from_file(path: str, exchange: Exchange) -> None:
    """Emits the program of a file.

    Raises:
        BadCall: a file that is wrong, that is not proven to compute the collective, or that is for another group.
    """
    file = Path(path)
    stat = file.stat() if file.is_file() else None
    program = _parsed(path, 0 if stat is None else stat.st_mtime_ns, 0 if stat is None else stat.st_size)
    _check(program, exchange)
    aliased = exchange.in_place or (program.in_place and not program.out_of_place)
    _Planner(program, exchange, aliased).emit(_proven(program, aliased))


@lru_cache(maxsize=16)
def _parsed(path: str, modified_ns: int, size: int) -> Program:
    return parse(path)


@lru_cache(maxsize=16)
def _proven(program: Program, aliased: bool) -> tuple[Placed, ...]:
    return prove(program, aliased)


def _check(program: Program, exchange: Exchange) -> None:
    if program.collective != exchange.collective:
        raise BadCall(f"{program.path} is an algorithm for {program.collective}, not for {exchange.collective}")
    if program.world_size != exchange.world_size:
        raise BadCall(f"{program.path} is for {program.world_size} ranks, and the group has {exchange.world_size}")
    item = ITEM_BYTES[exchange.dtype]
    if exchange.count % program.chunks:
        unit = program.chunks * item
        raise BadCall(
            f"{program.path} cuts the data into {program.chunks} chunks, which {exchange.count} {exchange.dtype} "
            f"elements do not divide into; take multiples of {unit} B, for example -b {unit}"
        )
    size = exchange.count * item
    if size < program.least_bytes or (program.most_bytes and size > program.most_bytes):
        most = program.most_bytes or "any number of"
        raise BadCall(
            f"{program.path} is meant for {program.least_bytes} to {most} bytes, not for {size}; see -b and -e"
        )


class _Planner:
    """Adds the ops of one program."""

    def __init__(self, program: Program, exchange: Exchange, aliased: bool) -> None:
        self._program, self._exchange, self._aliased = program, exchange, aliased
        self._elements = exchange.count // program.chunks
        self._sent: dict[int, View] = {}
        # Where a rank's program works, when that is neither its input nor its output as they are.
        self._working: dict[int, View] = {}

    def emit(self, steps: tuple[Placed, ...]) -> None:
        """Adds all steps; each op follows what the program orders before it."""
        ends: list[tuple[int, ...]] = []
        first = self._copies()
        for index, placed in enumerate(steps):
            after = {op for earlier in placed.after for op in ends[earlier]}
            own = first.get(placed.place[0])
            if own is not None:
                after.add(own)
            # Without an op of its own a step passes on what it waited for.
            ends.append(self._ops(index, placed, tuple(sorted(after))))
        for rank, source in self._working.items() if self._exchange.collective == "reduce_scatter" else ():
            start, stop = self._exchange.whole_chunks()[rank]
            after = {op for index, placed in enumerate(steps) if placed.place[0] == rank for op in ends[index]}
            self._exchange.copy(part(source, start, stop), self._exchange.outputs[rank], after=sorted(after))

    def _copies(self) -> dict[int, int]:
        """Input to where the program works in place, when the call is out of place; the op of each rank."""
        found: dict[int, int] = {}
        exchange = self._exchange
        if self._aliased and not exchange.in_place:
            for rank in range(exchange.world_size):
                start, stop = exchange.whole_chunks()[rank]
                scatters = exchange.collective == "reduce_scatter"
                self._working[rank] = exchange.scratch(rank, "in-place") if scatters else exchange.outputs[rank]
                gathers = exchange.collective == "all_gather"
                target = part(self._working[rank], start, stop) if gathers else self._working[rank]
                found[rank] = exchange.copy(exchange.inputs[rank], target)
        return found

    def _view(self, rank: int, end: tuple[str, int], count: int) -> View:
        """Chunks of one of the program's buffers."""
        buffer, first = end
        exchange, size = self._exchange, self._elements
        if buffer == "s":
            whole = exchange.scratch(rank, "msccl", self._program.scratch[rank] * size)
        elif rank in self._working:
            whole = self._working[rank]
            if buffer == {"all_gather": "i", "reduce_scatter": "o"}.get(exchange.collective):
                first += exchange.whole_chunks()[rank][0] // size
        else:
            whole = exchange.outputs[rank] if buffer == "o" else exchange.inputs[rank]
        return part(whole, first * size, (first + count) * size)

    def _ops(self, index: int, placed: Placed, after: tuple[int, ...]) -> tuple[int, ...]:
        """Adds the ops of one step after others, one after the other; returns the last, or `after` without any."""
        step, rank = placed.step, placed.place[0]
        if step.type == "nop":
            return after
        exchange = self._exchange
        source = self._view(rank, step.source, step.count) if step.type in READS else None
        target = self._view(rank, step.destination, step.count) if step.type in WRITES else None
        arrived = self._sent.pop(placed.message) if step.type in RECEIVES else None
        carried = arrived if source is None else source
        if step.type in ("r", "rcs", "cpy"):
            assert target is not None and carried is not None
            if carried != target:
                after = (exchange.copy(carried, target, step.type, after),)
        elif step.type != "s":
            other = arrived if arrived is not None else target
            into = target if target is not None else arrived
            assert source is not None and other is not None and into is not None
            after = (exchange.add(rank, [other, source], into, step.type, after),)
            carried = into
        if step.type in SENDS:
            assert carried is not None
            peer = placed.block.send
            room = exchange.scratch(peer, f"fifo{index}", step.count * self._elements)
            after = (exchange.send(carried, room, "send", channel=placed.block.channel, after=after),)
            self._sent[index] = room
        return after

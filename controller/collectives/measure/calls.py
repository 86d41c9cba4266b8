"""Runs calls as a program, on either executor: time of each, and in a live run how many elements are wrong."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.collectives.begins import beginning, with_host
from controller.collectives.call import Call
from controller.collectives.exchange import Software
from controller.collectives.measure.in_turn import in_turn
from controller.collectives.measure.verify import Array, seeded_input, wrong_count
from controller.collectives.protocol import PLAIN, Protocol, with_end, with_start
from controller.collectives.table import BUS_FACTORS, Algorithm, algorithm, is_file
from controller.execute.critical import PathRecord
from controller.execute.outcome import Outcome
from controller.execute.virtual import run_virtual
from controller.plan.build import PlanBuilder
from controller.plan.extents import touched_buffers
from controller.plan.ops import Buffer, Plan
from controller.program.results import CallResult, calls_of
from controller.program.run import CollectiveProgram, Run, Wish
from controller.program.waits import Completion
from controller.topology.schema import Topology
from node.hardware.units import format_quantity


@dataclass(slots=True)
class MeasuredCall:
    """One call and what it came to.

    Attributes:
        call: what was called.
        algorithm, protocol: how.
        plan: what was executed.
        time_s: on the virtual clock [s]; None when it did not end well.
        wrong: elements that are wrong, over all ranks; None when nothing was moved.
    """

    call: Call
    algorithm: str
    protocol: str
    plan: Plan
    time_s: float | None = None
    wrong: int | None = None

    @property
    def size_bytes(self) -> int:
        """Size of the longer side of one rank [bytes]."""
        return self.call.count * self.call.item_bytes

    @property
    def algbw_bytes_per_s(self) -> float:
        """Size over time [bytes/s]; 0 for a call that takes no time."""
        return self.size_bytes / self.time_s if self.time_s else 0.0

    @property
    def busbw_bytes_per_s(self) -> float:
        """algbw times the factor of nccl-tests [bytes/s]."""
        return self.algbw_bytes_per_s * BUS_FACTORS[self.call.collective].of(self.call.world_size)


def plan_of(call: Call, run: Algorithm, name: str = "", protocol: Protocol = PLAIN) -> Plan:
    """The plan of a call.

    Args:
        call: what to do.
        run: the algorithm.
        name: of the algorithm; that of its function when absent. One that ends in ``.xml`` is a file that says itself
            what waits for what.
        protocol: whose channels copy what stays on a rank; its other costs are those of the topology as it sees it.
    """
    title = f"{call.collective} {name or run.__name__} {call.count} {call.dtype}"
    build = PlanBuilder(title, derives=not is_file(name))
    run(call.exchange(build, Software(protocol.name, own_bytes_per_s=protocol.own_bytes_per_s)))
    return build.plan()


def prepare(call: Call, name: str, protocol: Protocol = PLAIN) -> MeasuredCall:
    """The plan of a call, ready to be run.

    Raises:
        UnknownAlgorithm: no such collective or algorithm.
    """
    plan = plan_of(call, algorithm(call.collective, name), name, protocol)
    plan = with_start(with_end(plan, call, protocol), call.group, beginning(call, protocol))
    plan = with_host(plan, call, protocol)
    return MeasuredCall(call, name, protocol.name, plan)


def program_of(entries: Sequence[MeasuredCall], seed: int = 0) -> Callable[[Run], CollectiveProgram]:
    """A program that runs calls one after the other and returns what they came to, in order."""

    return in_turn(
        entries,
        lambda run, entry: _one(run, entry, seed),
        lambda entry: f"{entry.call.collective} {format_quantity(entry.size_bytes, 'bytes')}",
    )


def measure(topology: Topology, entry: MeasuredCall, record: PathRecord | None = None) -> Outcome:
    """Times one call on a clock of its own; `entry` then has its time, unless the outcome says why not.

    Args:
        topology: as the entry's protocol sees it.
        entry: from `prepare`.
        record: filled when given.
    """
    outcome = run_virtual(topology, [program_of([entry])], record=record)
    entry.time_s = None
    for call in calls_of(outcome.result):
        entry.time_s = call.time_s
    return outcome


def note_wrong(entries: Sequence[MeasuredCall], outcome: Outcome) -> None:
    """Writes into entries how many elements were wrong in the live run of their `program_of`."""
    for entry, call in zip(entries, calls_of(outcome.result), strict=True):
        entry.wrong = call.wrong


def buffers_of(entry: MeasuredCall) -> tuple[Buffer, ...]:
    """Everything that must be placed before the call, each once, in order."""
    call = entry.call
    found = dict.fromkeys(
        view.buffer for rank in range(call.world_size) for view in (call.input(rank), call.output(rank))
    )
    found |= dict.fromkeys(touched_buffers(entry.plan))
    return tuple(buffer for buffer in found if buffer.nbytes)


def _one(run: Run, entry: MeasuredCall, seed: int) -> Generator[Wish, Any, CallResult]:
    call, ranks = entry.call, range(entry.call.world_size)
    inputs = [seeded_input(call, rank, seed) for rank in ranks] if run.live else []
    for buffer in buffers_of(entry):
        rank = call.group.devices.index(buffer.device)
        if run.live:
            run.place(buffer, initial_content(call, rank, buffer, inputs[rank]))
        else:
            run.place(buffer, written=buffer == call.input(rank).buffer)
    time_s, wrong = 0.0, 0 if run.live else None
    if entry.plan.ops:
        ended: Completion = yield run.submit(entry.plan)
        time_s = ended.end_at - ended.submitted_at
    if wrong is not None:
        for rank in ranks:
            view = call.output(rank)
            if view.shape == (0,):
                continue
            values: Array = yield run.fetch(view)
            wrong += wrong_count(call, rank, values, inputs)
    for buffer in buffers_of(entry):
        run.release(buffer)
    return CallResult(time_s, wrong)


def initial_content(call: Call, rank: int, buffer: Buffer, given: Array) -> Array:
    """What a buffer holds before the call: the input where it lies, and elsewhere what no result may be left as."""
    poison = np.nan if given.dtype.kind == "f" else np.iinfo(given.dtype).min
    values = np.full(buffer.shape, poison, given.dtype)
    view = call.input(rank)
    if view.buffer == buffer:
        assert isinstance(view.offset_bytes, int)
        start = view.offset_bytes // call.item_bytes
        values[start : start + len(given)] = given
    return values

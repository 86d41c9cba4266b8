"""Runs calls as a program, on either executor: time of every step, and in a live run how many elements are wrong."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.collectives.attention.call import AttentionCall
from controller.collectives.attention.layouts import Layout
from controller.collectives.attention.steps import step_of
from controller.collectives.attention.table import scheme
from controller.collectives.attention.verify import Array, exact, inputs_of, seeded_sequence, wrong_count
from controller.collectives.errors import BadCall
from controller.collectives.measure.in_turn import in_turn
from controller.execute.critical import PathRecord
from controller.execute.outcome import Outcome
from controller.execute.trace import Trace
from controller.execute.virtual import run_virtual
from controller.plan.bound import view_bytes
from controller.plan.extents import touched_buffers
from controller.plan.ops import Plan, Transfer
from controller.program.results import CallResult, calls_of
from controller.program.run import CollectiveProgram, Run, Wish
from controller.program.waits import Completion
from controller.topology.schema import Topology
from node.errors import BadQuantity
from node.hardware.units import parse

CONNECTION = "connection.rate"
"""Option of a topology: most that one device can send to one other, whatever ports and links could carry."""
MOST_SPANS = 4_000_000
"""Spans of one call that are held to tell its steps apart; some 700 ranks."""


@dataclass(frozen=True, slots=True)
class AttentionStep:
    """One step of a call.

    Attributes:
        time_s: from the end of the step before to its own [s].
        attention_s, merge_s: what the rank that computes longest spends on its block, and on joining results [s].
        sent_bytes: what all ranks send in it [bytes].
    """

    time_s: float
    attention_s: float
    merge_s: float
    sent_bytes: int

    @property
    def exposed_s(self) -> float:
        """Time in which not even the rank that computes longest does anything [s]."""
        return max(0.0, self.time_s - self.attention_s - self.merge_s)


@dataclass(slots=True)
class MeasuredAttention:
    """One call and what it came to.

    Attributes:
        call: what was called.
        scheme: how.
        layout: which tokens lay where.
        plan: what was executed.
        time_s: on the virtual clock [s]; None when it did not end well.
        steps: in order; those of TokenRing end with the exchange after the last attention.
        wrong: elements that are wrong, over all ranks; None when nothing was moved.
    """

    call: AttentionCall
    scheme: str
    layout: Layout
    plan: Plan
    time_s: float | None = None
    steps: tuple[AttentionStep, ...] = ()
    wrong: int | None = None

    @property
    def exposed_s(self) -> float:
        """Time in which not even the rank that computes longest does anything [s]."""
        return sum(step.exposed_s for step in self.steps)


def connection_bytes_per_s(topology: Topology) -> float:
    """What a topology declares as `CONNECTION`; 0 when it declares nothing [bytes/s].

    Raises:
        BadCall: a text that is no rate.
    """
    text = topology.options.get(CONNECTION)
    if text is None:
        return 0.0
    try:
        return parse(text, "bytes/s")
    except BadQuantity as error:
        raise BadCall(f"{topology.name}: option {CONNECTION}: {error}") from error


def prepare(call: AttentionCall, name: str) -> MeasuredAttention:
    """The plan of a call, ready to be run.

    Raises:
        UnknownAlgorithm: no such scheme.
        BadCall: a sequence that the scheme cannot cut evenly.
    """
    function, layout = scheme(name)
    return MeasuredAttention(call, name, layout, function(call))


def program_of(entries: Sequence[MeasuredAttention], seed: int = 0) -> Callable[[Run], CollectiveProgram]:
    """A program that runs calls one after the other and returns what they came to, in order."""

    return in_turn(entries, lambda run, entry: _one(run, entry, seed), lambda entry: f"{entry.scheme} attention")


def measure(topology: Topology, entry: MeasuredAttention, record: PathRecord | None = None) -> Outcome:
    """Times one call on a clock of its own; `entry` then has its time and steps, unless the outcome says why not.

    Args:
        topology: with the devices of the call's group.
        entry: from `prepare`.
        record: filled when given.

    Raises:
        BadCall: a group so large that its ops cannot all be recorded.
    """
    trace = Trace(limit=MOST_SPANS)
    outcome = run_virtual(topology, [program_of([entry])], trace=trace, record=record)
    if trace.dropped:
        raise BadCall(
            f"{entry.scheme} attention over {entry.call.world_size} ranks has more than {MOST_SPANS:,} spans, too many "
            f"to tell its steps apart; use fewer ranks"
        )
    entry.time_s = None
    for call in calls_of(outcome.result):
        entry.time_s = call.time_s
        entry.steps = _steps(topology, entry, trace)
    return outcome


def _one(run: Run, entry: MeasuredAttention, seed: int) -> Generator[Wish, Any, CallResult]:
    call, layout, ranks = entry.call, entry.layout, range(entry.call.world_size)
    buffers = touched_buffers(entry.plan)
    sequence = seeded_sequence(call, seed) if run.live else None
    given = [{} if sequence is None else inputs_of(call, layout, rank, sequence) for rank in ranks]
    for buffer in buffers:
        if run.live:
            content = given[call.group.devices.index(buffer.device)].get(buffer.name)
            # What no result may be left as, wherever nothing is given.
            nothing = np.full(buffer.shape, np.nan, np.float16 if buffer.dtype == "fp16" else np.float32)
            run.place(buffer, nothing if content is None else content)
        else:
            run.place(buffer, written=buffer.name in ("q", "kv"))
    ended: Completion = yield run.submit(entry.plan)
    wrong = None
    if sequence is not None:
        wrong = 0
        expected = exact(call, sequence)
        for rank in ranks:
            values: Array = yield run.fetch(call.out(rank))
            wrong += wrong_count(call, layout, rank, values, expected)
    for buffer in buffers:
        run.release(buffer)
    return CallResult(ended.end_at - ended.submitted_at, wrong)


def _steps(topology: Topology, entry: MeasuredAttention, trace: Trace) -> tuple[AttentionStep, ...]:
    """The steps of a call from what was recorded; what is sent counts where it was sent."""
    ends: dict[int, float] = {}
    busy: dict[int, dict[str, dict[str, float]]] = {}
    for span in trace.spans:
        if "bytes" not in span.detail:
            continue  # a launch by the host
        what, step = step_of(span.name)
        ends[step] = max(ends.get(step, 0.0), span.end_at)
        if "op" in span.detail and span.track in topology.devices[span.device].spec.queues:
            mine = busy.setdefault(step, {}).setdefault(span.device, {})
            mine[what] = mine.get(what, 0.0) + span.end_at - span.start_at
    sent: dict[int, int] = {}
    for op in entry.plan.ops:
        if isinstance(op, Transfer):
            step = step_of(op.label)[1]
            sent[step] = sent.get(step, 0) + sum(view_bytes(view, {}) for view in op.sources)
    before, steps = 0.0, []
    for step in sorted(ends):
        longest = max(busy.get(step, {}).values(), key=lambda each: sum(each.values()), default={})
        end = max(before, ends[step])
        steps.append(
            AttentionStep(end - before, longest.get("attention", 0.0), longest.get("merge", 0.0), sent.get(step, 0))
        )
        before = end
    return tuple(steps)

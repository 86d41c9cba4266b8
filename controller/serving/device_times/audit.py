"""Whole iterations, uncut and unrounded, beside the sum of their parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.execute.virtual import VirtualRun
from controller.models.sharded import Sharded
from controller.offload.scratch import Scratch
from controller.plan.ops import Plan, View
from controller.plan.script import Script, Value
from controller.serving.device_times.attention_of_rank import attention_of_rank
from controller.serving.device_times.parts import IterationParts
from controller.serving.device_times.times import DeviceTimes, HostCosts
from controller.serving.iteration_times import IterationLoad
from controller.topology.schema import Topology

MOST_OPS = 200_000
"""Of whole iterations that are executed, over all: layers times ranks times ranks, about."""


@dataclass(frozen=True, slots=True)
class AuditedIteration:
    """One iteration both ways [s].

    Attributes:
        load: what it computes.
        parts_s: sum of its parts, without the host.
        whole_s: executed as one plan, without the host.
    """

    load: IterationLoad
    parts_s: float
    whole_s: float

    @property
    def error(self) -> float:
        """Parts over whole, less 1."""
        return self.parts_s / self.whole_s - 1


def audit(topology: Topology, times: DeviceTimes, most: int) -> list[AuditedIteration]:
    """The most frequent iterations of a run, and the one with most prompt tokens, at most `most`, both ways."""
    loads = sorted((load for load in times.loads if not load.side_by_side), key=lambda load: -times.loads[load])
    mixed = max((load for load in loads if load.chunks), key=lambda load: load.tokens, default=None)
    chosen: list[IterationLoad] = [] if mixed is None else [mixed]
    chosen += [load for load in loads if load != mixed]
    return [audit_one(topology, times, load) for load in chosen[:most]]


def audit_one(topology: Topology, times: DeviceTimes, load: IterationLoad) -> AuditedIteration:
    """One iteration both ways."""
    host, times.host = times.host, HostCosts()
    try:
        parts_s = times.iteration_s(load)
    finally:
        times.host = host
    return AuditedIteration(load, parts_s, whole_s(topology, times.parts, load))


def whole_s(topology: Topology, parts: IterationParts, load: IterationLoad) -> float:
    """Time of an iteration as one plan of all layers [s]."""
    run, scratch = VirtualRun(topology), Scratch("whole")
    plan = whole_plan(parts, load, scratch)
    parts.place(run)
    scratch.place(run)
    (done,) = run.advance([run.submit(plan).number])
    return done.end_at - done.submitted_at


def whole_plan(parts: IterationParts, load: IterationLoad, scratch: Scratch) -> Plan:
    """An iteration as one plan."""
    shape, tokens = parts.shape, load.tokens
    s = Script("iteration", scratch)
    model = Sharded(parts.sharding, parts.software(tokens))
    x: Sequence[Value] = model.embed(s, [View(ids, 0, (tokens,)) for ids in parts.ids], 0)
    for layer in range(shape.layers):
        queries, keys = model.queries(s, layer, x, 0), model.keys(s, layer, 0)
        attention: list[Value] = []
        for rank, (query, pair) in enumerate(zip(queries, keys, strict=True)):
            parts.keep(s, rank, pair, tokens)
            attention.append(attention_of_rank(s, parts, rank, layer, query, load))
        x = model.finish(s, layer, x, attention)
    rows = load.rows + load.ended_prompts
    if rows:
        last = [value.part(0, (rows, shape.hidden)) for value in x]
        model.head(s, last, None, View(parts.next_ids, 0, (rows,)))
    else:
        for value in x:
            s.drop(value)
    return s.plan()

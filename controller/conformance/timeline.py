"""The schedule of a strategy as text that a person reviews and a file keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from controller.conformance.toys import Toy
from controller.execute.critical import PathRecord
from controller.execute.template import Bound, Template
from controller.execute.virtual import run_virtual
from controller.plan.ops import Alloc, Buffer, Free, Kernel, Op, Transfer
from controller.topology.schema import Topology


@dataclass(frozen=True, order=True)
class Line:
    """One op: when, what, where; equal ones on devices of one group are one line.

    Attributes:
        start_ns, end_ns: instants [ns].
        op: kernel, ``transfer``, ``alloc`` or ``free``.
        label: of the op.
        where: group and queue, or the tiers at both ends.
        devices: names of the devices of that group that do the same at the same time.
    """

    start_ns: int
    end_ns: int
    op: str
    label: str
    where: str
    devices: str


@dataclass
class _Plan:
    name: str
    submitted_at: float
    lines: list[Line]


@dataclass
class _Record(PathRecord):
    """Takes the place of the record of the critical path, which is told of every plan that ended."""

    topology: Topology | None = None
    plans: list[_Plan] = field(default_factory=list)

    def add(self, template: Template, bound: Bound, submitted_at: float, start: Any, end: Any) -> None:
        """Keeps the plan with one line for each of its ops; launches by the host are left out."""
        assert self.topology is not None
        lines = [
            _line(self.topology, template.plan.ops[int(index)], template.labels[int(label)], begun, ended)
            for index, label, begun, ended in zip(template.op_of, template.label_of, start, end, strict=True)
            if index >= 0
        ]
        self.plans.append(_Plan(template.plan.name, submitted_at, lines))


def timeline_text(toy: Toy) -> str:
    """Every plan of a run in the order of their ends, every op in the order of its start; times in microseconds.

    A plan of the same name whose lines are the same, counted from its submission, is told in one line.
    """
    record = _Record(topology=toy.topology)
    outcome = run_virtual(toy.topology, [toy.program()], record=record)
    scenario = toy.scenario()
    text = [
        f"run {toy.strategy.name} on {toy.topology.name}: {toy.shape.name}, {scenario.workload_text()}",
        "----",
    ]
    seen: dict[str, list[Line]] = {}
    for plan in record.plans:
        since = [_moved(line, -round(plan.submitted_at * 1e9)) for line in plan.lines]
        text.append("")
        text.append(f"plan {plan.name!r}, submitted at {plan.submitted_at * 1e6:.3f} us")
        if seen.get(plan.name) == since:
            text.append("  as before")
            continue
        seen[plan.name] = since
        text += _rows(_merged(plan.lines))
    text += ["", f"ended {outcome.ended} at {outcome.time_s * 1e6:.3f} us"]
    text += [f"phase {name}: {time_s * 1e6:.3f} us" for name, time_s in outcome.phases.items()]
    text += [f"peak of {name}: {size} bytes" for name, size in sorted(outcome.peak_bytes.items())]
    return "\n".join(text) + "\n"


def _line(topology: Topology, op: Op, label: str, start: float, end: float) -> Line:
    kind, where, devices = _place(topology, op)
    return Line(round(float(start) * 1e9), round(float(end) * 1e9), kind, label, where, devices)


def _place(topology: Topology, op: Op) -> tuple[str, str, str]:
    """Kind, place by groups and queue, and the devices themselves."""

    def group(name: str) -> str:
        return topology.devices[name].group

    def tiers(buffers: Iterable[Buffer]) -> str:
        return " + ".join(dict.fromkeys(f"{group(buffer.device)}.{buffer.tier}" for buffer in buffers))

    if isinstance(op, Kernel):
        queue = f"/{op.queue}" if op.queue else ""
        return op.op, f"{group(op.device)}{queue}", op.device
    if isinstance(op, Transfer):
        source, target = [view.buffer for view in op.sources], [view.buffer for view in op.destinations]
        where = f"{tiers(source)} > {tiers(target)}" + (f" /{op.queue}" if op.queue else "")
        names = [" ".join(dict.fromkeys(buffer.device for buffer in ends)) for ends in (source, target)]
        return "transfer", where, " > ".join(names)
    assert isinstance(op, Alloc | Free)
    return ("alloc" if isinstance(op, Alloc) else "free"), tiers([op.buffer]), op.buffer.device


def _moved(line: Line, by_ns: int) -> Line:
    return Line(line.start_ns + by_ns, line.end_ns + by_ns, line.op, line.label, line.where, line.devices)


def _merged(lines: Iterable[Line]) -> list[tuple[Line, int]]:
    """Lines in order, those that only the device tells apart as the first of them with their number."""

    def key(line: Line) -> tuple[int, int, str, str, str]:
        return line.start_ns, line.end_ns, line.op, line.label, line.where

    found = [list(same) for _, same in groupby(sorted(lines), key)]
    return [(same[0], len(same)) for same in found]


def _rows(lines: Iterable[tuple[Line, int]]) -> list[str]:
    rows = [("start", "end", "op", "where", "devices", "label")]
    for line, count in lines:
        more = f" and {count - 1} more" if count > 1 else ""
        times = (f"{line.start_ns / 1e3:.3f}", f"{line.end_ns / 1e3:.3f}")
        rows.append((*times, line.op, line.where, f"{line.devices}{more}", line.label))
    width = [max(len(row[column]) for row in rows) for column in range(5)]
    return [
        f"  {start:>{width[0]}}  {end:>{width[1]}}  {op:{width[2]}}  {where:{width[3]}}  {devices:{width[4]}}  {label}"
        for start, end, op, where, devices, label in rows
    ]

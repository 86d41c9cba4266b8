"""``windtunnel plan show | check``: what a strategy would submit, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from controller.cli.options import catalog_option, json_option, overrides_option
from controller.cli.strategy_command import StrategyCommand, strategy_options

if TYPE_CHECKING:
    from controller.execute.survey import Survey, SurveyedPlan
    from controller.topology.schema import Topology


@click.group()
def plan() -> None:
    """Look at what a strategy would do, without running it."""


@plan.command(cls=StrategyCommand)
@strategy_options
@overrides_option
@catalog_option
@json_option
def show(as_json: bool, **request: Any) -> None:
    """Print the plans of a strategy, their ops by device, and the highest occupancy of every tier."""
    from controller.report.json_output import dumps

    topology, found = _survey(**request)
    if as_json:
        click.echo(dumps(_document(topology, found, ops=True)))
        return
    _print_plans(found)
    _print_ops(found)
    _print_tiers(found)
    if found.does_not_fit is not None:
        click.echo(f"\ndoes not fit: {found.does_not_fit}")


@plan.command(cls=StrategyCommand)
@strategy_options
@overrides_option
@catalog_option
@json_option
def check(as_json: bool, **request: Any) -> None:
    """Check every plan of a strategy: names, order, shapes, sources of bytes, and that it fits every tier."""
    from controller.report.json_output import dumps

    topology, found = _survey(**request)
    if as_json:
        click.echo(dumps(_document(topology, found, ops=False)))
    if found.does_not_fit is not None:
        raise found.does_not_fit
    if not as_json:
        ops = sum(len(entry.plan.ops) for entry in found.plans)
        click.echo(
            f"{request['strategy']}: ok on {topology.name}, {len(found.plans)} plans, {ops} ops; every tier fits"
        )


def _survey(**asked: Any) -> tuple[Topology, Survey]:
    from controller.execute.survey import survey
    from controller.experiment.run_spec import RunSpec
    from controller.experiment.virtual import prepare, virtual_scenario

    request = RunSpec(
        **{name: value for name, value in asked.items() if name != "strategy_options"},
        options=asked["strategy_options"],
    )
    entry, cluster, shape = prepare(request)
    scenario = virtual_scenario(request, entry, cluster, shape)
    program = entry.program()
    return cluster, survey(cluster, [lambda run: program(run, scenario)])


def _print_plans(found: Survey) -> None:
    from controller.report.tables import show as print_table
    from controller.report.tables import table

    rows = []
    for entry in found.plans:
        first = " ".join(f"{name}={value}" for name, value in entry.first.items())
        last = " ".join(f"{name}={value}" for name, value in entry.last.items())
        sizes = first if first == last else f"{first} .. {last}"
        rows.append((entry.plan.name, entry.submission_count, len(entry.plan.ops), sizes))
    print_table(table(("plan", "submitted", "ops", "open sizes"), rows, "plans"))


def _print_ops(found: Survey) -> None:
    from controller.report.tables import show as print_table
    from controller.report.tables import table

    rows = [
        (entry.plan.name, kind, name, where, count)
        for entry in found.plans
        for (kind, name, where), count in _op_counts(entry).items()
    ]
    print_table(table(("plan", "op", "label", "where", "count"), rows, "ops"))


def _print_tiers(found: Survey) -> None:
    from controller.report.tables import quantity, table
    from controller.report.tables import show as print_table

    rows = [
        (f"{device}.{tier}", quantity(peak, "bytes"), quantity(capacity, "bytes"), f"{peak / capacity:.1%}")
        for (device, tier), peak in found.peak_bytes.items()
        if (capacity := found.capacity_bytes[device, tier])
    ]
    print_table(table(("tier", "peak", "capacity", "used"), rows, "tiers"))


def _op_counts(entry: SurveyedPlan) -> dict[tuple[str, str, str], int]:
    """How many ops of each (kind, label, where) a plan has, in the order of first appearance."""
    counts: dict[tuple[str, str, str], int] = {}
    for op in entry.plan.ops:
        key = _op_names(op)
        counts[key] = counts.get(key, 0) + 1
    return counts


def _op_names(op: Any) -> tuple[str, str, str]:
    from controller.plan.ops import Kernel, Transfer

    if isinstance(op, Kernel):
        return op.op, op.label or op.op, op.device
    if isinstance(op, Transfer):
        ends = [f"{view.buffer.device}.{view.buffer.tier}" for view in (op.sources[0], op.destinations[0])]
        return "transfer", op.label or "transfer", " -> ".join(ends)
    return type(op).__name__.lower(), op.buffer.name, f"{op.buffer.device}.{op.buffer.tier}"


def _document(topology: Topology, found: Survey, *, ops: bool) -> dict[str, Any]:
    plans = []
    for entry in found.plans:
        document: dict[str, Any] = {
            "name": entry.plan.name,
            "submitted": entry.submission_count,
            "first": entry.first,
            "last": entry.last,
            "op_count": len(entry.plan.ops),
        }
        if ops:
            document["ops"] = [
                {"op": kind, "label": label, "where": where, "after": after}
                for (kind, label, where), after in zip(map(_op_names, entry.plan.ops), entry.plan.after, strict=True)
            ]
        plans.append(document)
    return {
        "topology": topology.name,
        "topology_digest": topology.digest,
        "fits": found.does_not_fit is None,
        "does_not_fit": None if found.does_not_fit is None else str(found.does_not_fit),
        "plans": plans,
        "tiers": [
            {"tier": f"{device}.{tier}", "peak_bytes": peak, "capacity_bytes": found.capacity_bytes[device, tier]}
            for (device, tier), peak in found.peak_bytes.items()
        ],
    }

"""What ``windtunnel run`` prints beyond its five lines: ``--details`` and ``--explain``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from controller.cli.context_note import context_note
from controller.execute.flash_traffic import wear_ratio
from controller.report.tables import console, legend, percent, quantity, reported, say, show, table

if TYPE_CHECKING:
    from controller.execute.critical import Explanation
    from controller.experiment.result import Experiment

WIDE = 120
"""Columns of a terminal from which on the critical path also says where, how often, and how long alone."""
NARROW = 4
"""Columns of the critical path below that; --json has all."""
EXECUTOR_TEXT = {"virtual": "virtual", "live": "live on node processes", "local": "local, in this process"}
SHOWN = 12
"""Resources and kinds of op that the tables show; --json has all."""
FEWEST = 0.001
"""Share of the time below which a resource is left out of its table."""

REPORT_MEANING = {"predicted_s": " (the planner's own prediction of a step, for the declared hardware)"}
"""What is said behind a value that a program reports, where its name alone could be taken for a result."""


def print_details(experiment: Experiment) -> None:
    """The facts of a run, what was busy, its ops, its energy and what it did to flash."""
    show(table(("run", ""), list(_facts(experiment))))
    if experiment.outcome.resources:
        for part in (_print_resources, _print_ops, _print_energy):
            click.echo()
            part(experiment)
    _print_flash(experiment)


def print_explanation(why: Explanation) -> None:
    """The critical path, and how much of the transfers computation hides."""
    rows: list[tuple[object, ...]] = [
        (percent(entry.time_s / why.path_s, sign="") if why.path_s > 0 else "-", quantity(entry.time_s, "s"),
         entry.label, entry.resource, entry.where, entry.count, quantity(entry.alone_s, "s"))
        for entry in why.path[:SHOWN]
    ]  # fmt: skip
    columns: tuple[str, ...] = ("share", "time", "op", "went into", "where", "count", "alone")
    if console().width < WIDE:
        columns, rows = columns[:NARROW], [row[:NARROW] for row in rows]
    show(table(columns, rows, "critical path"))
    if len(why.path) > SHOWN:
        say(f"{len(why.path) - SHOWN} more kinds of op take the rest (--json has all)")
    click.echo()
    rows = [
        ("computing", quantity(why.compute_s, "s"), "-"),
        ("transferring", quantity(why.transfer_s, "s"), "-"),
        ("  hidden behind compute", quantity(why.hidden_s, "s"), _share(why.hidden_s, why.transfer_s)),
        ("  exposed", quantity(why.exposed_s, "s"), _share(why.exposed_s, why.transfer_s)),
    ]  # fmt: skip
    show(table(("", "time", "share"), rows, "overlap"))


def _facts(experiment: Experiment) -> Iterator[tuple[str, str]]:
    outcome, scenario = experiment.outcome, experiment.scenario
    yield "strategy", f"{experiment.strategy.name}, {EXECUTOR_TEXT[experiment.request.executor]}"
    yield "topology", f"{experiment.topology.name} ({', '.join(experiment.topology.devices)})"
    yield "model", f"{experiment.shape.name} in {scenario.dtype}"
    yield "workload", scenario.workload_text()
    if context := context_note(experiment):
        yield "context", context
    for host, label in experiment.comparison.get("machines", {}).items():
        yield "machine", f"{host} on {label}"
    yield "outcome", outcome.ended
    yield "time", f"{quantity(outcome.time_s, 's')} of device time"
    for phase, time_s in outcome.phases.items():
        yield f"  {phase}", quantity(time_s, "s")
    for name, value in outcome.short_reports().items():
        yield f"  {name}", f"{reported(name, value)}{REPORT_MEANING.get(name, '')}"
    if outcome.paced_s is not None:
        ratio = outcome.paced_s / outcome.time_s - 1 if outcome.time_s else None
        yield "paced time", f"{quantity(outcome.paced_s, 's')} ({percent(ratio)}), {outcome.overruns} overruns"
    yield "wall time", _wall_text(experiment)


def _wall_text(experiment: Experiment) -> str:
    """The wall time, of a live command with all of its phases."""
    phases = experiment.phases_wall_s
    if not phases:
        return quantity(experiment.outcome.wall_s, "s")
    parts = ", ".join(f"{name} {quantity(time_s, 's', 2)}" for name, time_s in phases.items())
    return f"{quantity(sum(phases.values()), 's', 3)} ({parts})"


def _print_resources(experiment: Experiment) -> None:
    uses = [use for use in experiment.outcome.resources if use.busy_ratio >= FEWEST][:SHOWN]
    rows = [(use.name, use.kind, quantity(use.busy_s, "s"), percent(use.busy_ratio, sign="")) for use in uses]
    show(table(("resource", "kind", "busy", "share"), rows, "what was busy"))
    if text := legend([use.name for use in uses]):
        say(text)
    say("a queue is busy while an op holds it, even one that waits for another resource")


def _print_ops(experiment: Experiment) -> None:
    outcome = experiment.outcome
    paced = outcome.paced_s is not None
    columns = ("op", "count", "time", *(("paced", "difference") if paced else ()))
    rows: list[tuple[Any, ...]] = []
    for entry in outcome.op_times[: None if paced else SHOWN]:
        row: tuple[Any, ...] = (entry.label, f"{entry.count:,}", quantity(entry.time_s, "s"))
        if paced:
            known = entry.paced_s is not None and entry.time_s > 0
            ratio = entry.paced_s / entry.time_s - 1 if known and entry.paced_s is not None else None
            row += (quantity(entry.paced_s, "s"), percent(ratio))
        rows.append(row)
    show(table(columns, rows, "time by kind of op"))
    say("sums over all devices: ops beside each other count each, so these are no shares of the run")


def _print_energy(experiment: Experiment) -> None:
    energy = experiment.energy
    if energy is None:
        return
    rows = [(each.device, *_activities(each.by_activity), quantity(each.energy_j, "J")) for each in energy.devices]
    if rows:
        show(table(("device", "idle", "computing", "moving bytes", "energy"), rows, "energy"))
        per_token = energy.joule_per_token
        least = "at least " if energy.lower_bound else ""
        total = f"energy per run: {least}{quantity(energy.energy_j, 'J')}"
        click.echo(total + ("" if per_token is None else f", {quantity(per_token, 'J')} a token"))
    bounded = [each.device for each in energy.devices if each.lower_bound]
    if bounded:
        say(f"idle power unknown, so counted while busy only: {', '.join(bounded)}")
    if energy.left_out:
        say(f"no power known, or none while they do nothing, so left out: {', '.join(energy.left_out)}")


def _activities(parts: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(quantity(parts[name], "J") if name in parts else "-" for name in ("idle", "compute", "move"))


def _print_flash(experiment: Experiment) -> None:
    rows = []
    for name, use in experiment.outcome.flash.items():
        wear = wear_ratio(experiment.topology, name, use.written_bytes)
        read, written = quantity(use.read_bytes, "bytes"), quantity(use.written_bytes, "bytes")
        rows.append((name, read, written, "-" if wear is None else f"{wear:.2g}"))
    if rows:
        click.echo()
        show(table(("flash", "read", "written", "share of rated life"), rows, "flash"))


def _share(part_s: float, whole_s: float) -> str:
    return percent(part_s / whole_s, sign="") if whole_s > 0 else "-"

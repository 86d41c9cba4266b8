"""The HTML report of one run: facts, critical path, what was busy, occupancy of every tier, and the timeline."""

from __future__ import annotations

from pathlib import Path

from controller.experiment.result import Experiment, assumptions
from controller.report.page import Section, table_section, timeline_section, write_page
from controller.report.plots import occupancy_plot
from controller.report.tables import quantity


def write_run_report(experiment: Experiment, path: Path) -> None:
    """Writes the report of a finished run.

    Raises:
        UserError: the file cannot be written.
    """
    write_page(f"{experiment.strategy.name} on {experiment.topology.name}", run_sections(experiment), path)


def run_sections(experiment: Experiment) -> list[Section]:
    """The sections of a run's report."""
    outcome, topology = experiment.outcome, experiment.topology
    sections = [table_section("run", ("", ""), _facts(experiment))]
    why = experiment.explanation
    if why is not None:
        whole = why.path_s or 1.0
        rows = [
            (
                entry.kind, entry.where, entry.label, entry.count, quantity(entry.time_s, "s"),
                f"{entry.time_s / whole:.1%}", quantity(entry.alone_s, "s"),
            )
            for entry in why.path
        ]  # fmt: skip
        columns = ("kind", "where", "op", "count", "on the path", "share", "alone")
        note = (
            f"Transfers were under way for {quantity(why.transfer_s, 's')}, {quantity(why.exposed_s, 's')} of it "
            f"exposed and {quantity(why.hidden_s, 's')} hidden behind computation."
        )
        sections.append(table_section("critical path", columns, rows, note))
    sections.append(
        table_section(
            "what was busy",
            ("resource", "kind", "busy", "share"),
            [(use.name, use.kind, quantity(use.busy_s, "s"), f"{use.busy_ratio:.1%}") for use in outcome.resources],
        )
    )
    trace = experiment.trace
    if trace is not None and trace.levels:
        capacity = {
            f"{device.name}.{tier.name}": tier.capacity_bytes
            for device in topology.devices.values()
            for tier in device.spec.tiers.values()
        }
        sections.append(
            Section(
                "occupancy of every tier",
                "Dotted: the capacity.",
                svg=occupancy_plot(trace.levels, capacity, outcome.time_s),
            )
        )
    if trace is not None and trace.spans:
        sections.append(timeline_section(trace, outcome.time_s))
    assumed = [(entry.device, entry.path, entry.text, entry.source) for entry in assumptions(topology)]
    sections.append(table_section("assumed constants", ("device", "constant", "value", "why"), assumed))
    return sections


def _facts(experiment: Experiment) -> list[tuple[str, str]]:
    outcome = experiment.outcome
    rate = experiment.tokens_per_s
    facts = [
        ("strategy", experiment.strategy.name),
        ("executor", "live" if experiment.request.live else "virtual"),
        ("topology", f"{experiment.topology.name} ({', '.join(experiment.topology.devices)})"),
        ("model", f"{experiment.shape.name} in {experiment.scenario.dtype}"),
        ("workload", experiment.scenario.workload_text()),
        ("outcome", outcome.ended),
        ("time", quantity(outcome.time_s, "s")),
        *((f"of it {phase}", quantity(time_s, "s")) for phase, time_s in outcome.phases.items()),
        ("throughput", "-" if rate is None else f"{rate:.4g} tokens/s"),
    ]
    return facts + [(name, str(value)) for name, value in outcome.short_reports().items()]

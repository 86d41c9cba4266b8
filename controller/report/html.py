"""The HTML report of one run: facts, critical path, what was busy, occupancy of every tier, and the timeline."""

from __future__ import annotations

from pathlib import Path

from controller.experiment.result import Experiment
from controller.report.assumed import assumed_section
from controller.report.page import Section, table_section, text_section, write_page
from controller.report.plots import occupancy_plot
from controller.report.run_lines import run_lines
from controller.report.tables import legend, number, percent, quantity, reported
from controller.report.timeline import timeline_section


def write_run_report(experiment: Experiment, path: Path) -> None:
    """Writes the report of a finished run.

    Raises:
        UserError: the file cannot be written.
    """
    write_page(f"{experiment.strategy.name} on {experiment.topology.name}", run_sections(experiment), path)


def run_sections(experiment: Experiment) -> list[Section]:
    """The sections of a run's report."""
    outcome, topology = experiment.outcome, experiment.topology
    said = run_lines(experiment)
    lines = zip(said.labels, (said.ran, said.time, said.throughput, said.bound_by, said.values), strict=True)
    sections = [text_section("in five lines", list(lines)), text_section("run", _facts(experiment))]
    why = experiment.explanation
    if why is not None:
        whole = why.path_s or 1.0
        rows = [
            (
                percent(entry.time_s / whole, sign=""), quantity(entry.time_s, "s"), entry.label, entry.resource,
                entry.where, f"{entry.count:,}", quantity(entry.alone_s, "s"),
            )
            for entry in why.path
        ]  # fmt: skip
        columns = ("share", "on the path", "op", "its time went into", "where", "count", "alone")
        note = (
            f"Transfers were under way for {quantity(why.transfer_s, 's')}, {quantity(why.exposed_s, 's')} of it "
            f"exposed and {quantity(why.hidden_s, 's')} hidden behind computation."
        )
        sections.append(table_section("critical path", columns, rows, note))
    sections.append(
        table_section(
            "what was busy",
            ("resource", "kind", "busy", "share"),
            [
                (use.name, use.kind, quantity(use.busy_s, "s"), percent(use.busy_ratio, sign=""))
                for use in outcome.resources
            ],
            legend([use.name for use in outcome.resources]),
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
        sections.append(timeline_section(trace, outcome.time_s, () if why is None else why.segments))
    sections.append(assumed_section(topology))
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
        ("throughput", "-" if rate is None else f"{number(rate)} tokens/s"),
    ]
    return facts + [(name.replace("_", " "), reported(name, value)) for name, value in outcome.short_reports().items()]

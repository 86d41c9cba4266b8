"""The HTML report of a server: figures, attainment over rate, and what every instance held and did over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from controller.experiment.serving_json import instance_json
from controller.experiment.serving_run import ServingExperiment
from controller.report.assumed import assumed_section
from controller.report.page import Section, table_section, text_section, write_page
from controller.report.plots import line_plot, step_plot
from controller.report.tables import percent, quantity
from controller.serving.rate_search import FoundRate

MOST_POINTS = 2_000
MOST_INSTANCES = 16
INSTANCE_COLUMNS = ("instance", "iterations", "busy", "KV mean", "KV peak", "preemptions")


def write_serving_report(found: Sequence[ServingExperiment], rates: Sequence[FoundRate], path: Path) -> None:
    """Writes the report of finished runs, one a scheduler.

    Raises:
        UserError: the file cannot be written.
    """
    sections: list[Section] = []
    if rates:
        curves = {
            run.scheduler.name: [(rate, 100 * ratio) for rate, ratio in each.tried]
            for run, each in zip(found, rates, strict=True)
        }
        svg = line_plot(curves, "requests a second", "within the objective [%]")
        sections.append(Section("attainment over rate", "Every rate that the search tried.", svg=svg))
    for run in found:
        sections += _sections(run)
    sections.append(assumed_section(found[0].topology))
    write_page(f"serving {found[0].shape.name} on {found[0].topology.name}", sections, path)


def _sections(run: ServingExperiment) -> list[Section]:
    name, metrics = run.scheduler.name, run.metrics
    facts = [
        ("requests", f"{metrics.completed} completed, {metrics.failed} failed: {run.stream.name}"),
        ("instances", f"{run.placed} devices, {run.spec.pp} pipeline stages"),
        ("time", quantity(run.time_s, "s")),
        ("output", f"{metrics.output_tokens / (metrics.duration_s or 1):.4g} tokens/s"),
    ]
    if metrics.attained_ratio is not None:
        facts.append(("within the objective", percent(metrics.attained_ratio, sign="")))
    if run.outages is not None:
        lost = run.outages
        facts.append(("faults", f"{lost.lost_blocks} KV blocks lost, {lost.resent} requests sent again, {lost.lost} "
                                f"lost, {lost.refused} refused"))  # fmt: skip
    latencies = [
        (title, *(quantity(value, "s") for value in (
            each.mean_s, each.median_s, each.percentiles_s[90], each.percentiles_s[99])))
        for title, each in (("TTFT", metrics.ttft), ("TPOT", metrics.tpot), ("ITL", metrics.itl), ("E2E", metrics.e2el))
    ]  # fmt: skip
    rows = []
    for instance in run.instances:
        made = instance_json(instance, run.time_s)
        rows.append((made["instance"], f"{made['iterations']:,}", percent(made["busy_ratio"], sign=""),
                     percent(made["kv_mean_ratio"], sign=""), percent(made["kv_peak_ratio"], sign=""),
                     made["preemptions"]))  # fmt: skip
    sections = [
        text_section(name, facts + [("note", note) for note in run.notes]),
        table_section(f"{name}: latencies", ("", "mean", "median", "P90", "P99"), latencies),
        table_section(f"{name}: instances", INSTANCE_COLUMNS, rows),
    ]
    shown = run.instances[:MOST_INSTANCES]
    names = {f"instance {each.state.number}": each for each in shown}
    occupied = {key: _sampled(each.samples, 1, each.state.pool.capacity_blocks) for key, each in names.items()}
    running = {key: _sampled(each.samples, 2, 100) for key, each in names.items()}
    waiting = {key: _sampled(each.samples, 3, 100) for key, each in names.items()}
    for title, curves, unit in (
        ("KV occupancy", occupied, "blocks held [%]"), ("requests that run", running, "requests"),
        ("requests that wait", waiting, "requests"),
    ):  # fmt: skip
        sections.append(Section(f"{name}: {title}", svg=step_plot(curves, "time [s]", unit)))
    return sections


def _sampled(samples: Sequence[tuple[float, int, int, int]], which: int, whole: int) -> list[tuple[float, float]]:
    stride = max(1, len(samples) // MOST_POINTS)
    return [(sample[0], 100 * sample[which] / whole) for sample in samples[::stride]]

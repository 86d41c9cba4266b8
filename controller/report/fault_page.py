"""The HTML report of a run with faults: truth and verdicts, the delay matrix, who waited for whom, the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from controller.diagnosis.campaign import Campaign
from controller.diagnosis.entries import CampaignEntry
from controller.diagnosis.verdicts import Verdict
from controller.diagnosis.witness import Witness
from controller.report.fault_plots import delay_matrix_plot, ledger_plot, verdict_plot, wait_graph_plot
from controller.report.page import Section, table_section, text_section, write_page
from controller.report.tables import quantity


@dataclass(frozen=True, slots=True)
class FaultReport:
    """What a report shows; what is empty is left out.

    Attributes:
        title: of the page.
        facts: name and text of each.
        truth: name, begin and end of each fault [s]; inf for one that lasts for good.
        verdicts: instant, detector and what it said, in order.
        end_at: end of the run [s].
        devices: of the ranks.
        delays_s: how long rank i waited for and received from rank j [s] (n, n); NaN where they exchange nothing.
        waits: waiter and awaited at the verdict.
        guilty: who is waited for and waits for nobody.
        ledger_s: where the time went [s].
    """

    title: str
    facts: Sequence[tuple[str, str]] = ()
    truth: Sequence[tuple[str, float, float]] = ()
    verdicts: Sequence[tuple[float, str, Verdict]] = ()
    end_at: float = 0.0
    devices: Sequence[str] = ()
    delays_s: NDArray[np.float64] | None = None
    waits: Sequence[tuple[str, str]] = ()
    guilty: Sequence[str] = ()
    ledger_s: Mapping[str, float] = field(default_factory=dict)


def write_fault_report(report: FaultReport, path: Path) -> None:
    """Writes the report to `path`.

    Raises:
        UserError: the file cannot be written.
    """
    write_page(report.title, fault_sections(report), path)


def fault_sections(report: FaultReport) -> list[Section]:
    """The sections of the report."""
    sections = [text_section("run", list(report.facts))] if report.facts else []
    if report.truth or report.verdicts:
        said = [(f"said: {verdict.suspect}", at_s, verdict.raised) for at_s, _, verdict in report.verdicts]
        was = [(f"true: {name}", begin, end) for name, begin, end in report.truth]
        note = "Bars: what was wrong. Red: a verdict was raised; green: it was taken back."
        sections.append(Section("truth and verdicts", note, svg=verdict_plot(was, said, report.end_at)))
    if report.verdicts:
        columns = ("at", "detector", "component", "kind", "since", "times slower", "confidence", "evidence")
        rows = [
            (
                quantity(at_s, "s"), name, str(verdict.suspect), verdict.kind if verdict.raised else "cleared",
                quantity(verdict.onset_s, "s"),
                f"{verdict.severity:.2f}" if isfinite(verdict.severity) else "stands still",
                f"{verdict.confidence:.2f}", verdict.evidence,
            )
            for at_s, name, verdict in report.verdicts
        ]  # fmt: skip
        sections.append(table_section("verdicts", columns, rows))
    if report.delays_s is not None and np.isfinite(report.delays_s).any():
        note = "A bright column: everybody waits for that sender. A bright row: that receiver. A cell: that path."
        sections.append(Section("delay matrix", note, svg=delay_matrix_plot(report.devices, report.delays_s)))
    if report.waits:
        note = "An arrow leads from each to the one it waits for; red: waited for, and waiting for nobody."
        sections.append(Section("who waits for whom", note, svg=wait_graph_plot(report.waits, report.guilty)))
    if report.ledger_s:
        rows_ = [(name, quantity(seconds, "s")) for name, seconds in report.ledger_s.items()]
        sections.append(Section("ledger", svg=ledger_plot(report.ledger_s)))
        sections.append(table_section("where the time went", ("part", "time"), rows_))
    return sections


def entry_report(campaign: Campaign, entry: CampaignEntry) -> FaultReport:
    """Runs one entry of a campaign again, and keeps what its report shows."""
    witness = Witness()
    run = campaign.run_entry(entry, {"witness": witness})
    said = sorted(
        ((at_s, name, verdict) for name, each in run.watched.items() for at_s, verdict in each.said),
        key=lambda each: (each[0], each[1], str(each[2].suspect)),
    )
    faults = [(f"{fault.kind} {fault.target}", run.onset_at, run.end_at) for fault in entry.faults]
    last = max([run.onset_at, *(at_s for at_s, _, _ in said), run.end_at if isfinite(run.end_at) else 0.0])
    waits, guilty = witness.waits()
    named = ", ".join(f"{fault.kind} {fault.target} {fault.severity:g}" for fault in entry.faults)
    facts = [
        ("topology", campaign.spec.topology.name), ("workload", campaign.spec.workload),
        ("ranks", str(campaign.spec.ranks)), ("entry", f"{entry.number}: {named}"),
        ("cost", f"{quantity(run.lost_s, 's')} of the job" if isfinite(run.lost_s) else "the job stands still"),
        ("observable", "yes" if run.is_observable else "no: its telemetry equals its twin's"),
    ]  # fmt: skip
    return FaultReport(
        f"{named} on {campaign.spec.topology.name}", facts, faults, said, last * 1.05, campaign.workload.devices,
        witness.delays_s, waits, guilty,
    )  # fmt: skip

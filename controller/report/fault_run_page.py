"""The HTML report of ``fault run``: what was wrong and what was said of it, and then the run itself."""

from __future__ import annotations

from math import inf
from pathlib import Path

from controller.diagnosis.run_watch import WatchedRun
from controller.experiment.fault_run import FaultRunResult
from controller.report.fault_page import FaultReport, fault_sections
from controller.report.fault_run import end_text, ledger_of
from controller.report.html import run_sections
from controller.report.page import Section, write_page
from controller.report.tables import quantity


def write_fault_run_report(found: FaultRunResult, watched: WatchedRun | None, path: Path) -> None:
    """Writes the page of a run with faults.

    Raises:
        UserError: the file cannot be written.
    """
    sections = list(fault_sections(_report(found, watched)))
    if found.experiment is not None:
        sections += [_beneath(section) for section in run_sections(found.experiment)]
    write_page(f"faults on {found.topology.name}", sections, path)


def _report(found: FaultRunResult, watched: WatchedRun | None) -> FaultReport:
    facts = [
        ("topology", found.topology.name), ("executor", "live" if found.live else "virtual"),
        ("without faults", end_text(found.twin)), ("with faults", end_text(found.struck)),
    ]  # fmt: skip
    if found.damage_s is not None:
        facts.append(("damage", quantity(found.damage_s, "s")))
    if found.struck.named_s is not None:
        facts.append(("named", f"{found.struck.device}, {found.struck.named_s:.2f} s after it was struck"))
    begin_s = 0.0 if watched is None else watched.struck_at_s
    truth = [
        (f"{fault.kind} {fault.target}", begin_s + fault.at_s,
         inf if fault.for_s is None else begin_s + fault.at_s + fault.for_s)
        for fault in found.faults
    ]  # fmt: skip
    title = f"faults on {found.topology.name}"
    if watched is None:
        return FaultReport(title, facts, ledger_s=ledger_of(found, None))
    facts += [("undetected", fault.text or str(fault.target)) for fault in watched.undetected]
    said = [(each.at_s, each.detector, each.verdict) for each in watched.verdicts]
    last = max([watched.stopped_at_s, *(begin for _, begin, _ in truth), *(at_s for at_s, _, _ in said)])
    return FaultReport(
        title, facts, truth, said, last * 1.05, watched.devices, watched.delays_s, watched.waits, watched.guilty,
        ledger_of(found, watched),
    )  # fmt: skip


def _beneath(section: Section) -> Section:
    section.title = f"the run: {section.title}"
    return section

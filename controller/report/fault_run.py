"""A run with faults beside its twin, as JSON and as text."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from controller.experiment.fault_run import FaultRunResult, RunEnd
from controller.report.link_changes import change_text, part_change_text
from controller.report.tables import quantity


def fault_run_json(found: FaultRunResult) -> dict[str, Any]:
    """The object of ``fault run --json``."""
    return {
        "topology": found.topology.name,
        "live": found.live,
        "faults": [
            {
                "target": str(fault.target),
                "kind": fault.kind,
                "severity": fault.severity,
                "at_s": fault.at_s,
                "for_s": fault.for_s,
                "shape": fault.shape.kind,
            }
            for fault in found.faults
        ],
        "twin": asdict(found.twin),
        "struck": asdict(found.struck),
        "damage_s": found.damage_s,
        "observable": found.observable,
    }


def fault_run_text(found: FaultRunResult) -> str:
    """Lines for people."""
    lines = [f"{found.topology.name}, {'live' if found.live else 'virtual'}: {len(found.faults)} faults"]
    for fault in found.faults:
        lasts = "for good" if fault.for_s is None else f"for {quantity(fault.for_s, 's')}"
        lines.append(
            f"fault       {fault.target} {fault.kind} {fault.severity:g} at {quantity(fault.at_s, 's')} {lasts}"
        )
    lines.append(f"without     {_end(found.twin)}")
    lines.append(f"with        {_end(found.struck)}")
    for change in found.struck.changes:
        lines.append(f"            {change_text(change) if 'link' in change else part_change_text(change)}")
    for failure in found.struck.failures:
        lines.append(
            f"went on     {failure['device']}: from step {failure['resumed_step']}, states of {failure['source']}"
        )
    if found.damage_s is not None:
        lines.append(f"damage      {quantity(found.damage_s, 's')}")
    if found.struck.named_s is not None:
        lines.append(f"named       {found.struck.device}, {found.struck.named_s:.2f} s after it was struck")
    if not found.observable:
        lines.append("undetected  the faults changed nothing that the run shows")
    return "\n".join(lines)


def _end(end: RunEnd) -> str:
    if end.ended != "ok":
        return f"{end.ended}: {end.message}"
    values = {True: ", values right", False: ", VALUES WRONG", None: ""}[end.values_right]
    return f"ok in {quantity(end.time_s, 's')}{values}" if end.time_s is not None else f"ok{values}"

"""A run with faults beside its twin, as JSON and as text."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any

from controller.diagnosis.run_watch import RunVerdict, WatchedRun
from controller.experiment.fault_run import FaultRunResult, RunEnd
from controller.report.link_changes import change_text, part_change_text
from controller.report.tables import quantity


def fault_run_json(found: FaultRunResult, watched: WatchedRun | None = None) -> dict[str, Any]:
    """The object of ``fault run --json``; without a watched run verdicts are null."""
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
        "verdicts": None if watched is None else [_verdict(each) for each in watched.verdicts],
        "undetected": None if watched is None else [fault.text or str(fault.target) for fault in watched.undetected],
        "struck_at_s": None if watched is None else watched.struck_at_s,
        "ledger_s": ledger_of(found, watched),
    }


def ledger_of(found: FaultRunResult, watched: WatchedRun | None) -> dict[str, float]:
    """Where the time of a run on the virtual clock went: its rows sum to that time exactly [s].

    A run that ended well did in `useful` what its twin does, and the rest is `slow`. Of one that stands still all work
    is `lost`, for it has no checkpoint; `detect` is how long it then takes until somebody names what is guilty, or
    until the slowest detector gives up.
    """
    twin_s, struck_s = found.twin.time_s, found.struck.time_s
    if watched is not None and watched.stopped:
        named = [each.at_s for each in watched.verdicts if each.right and each.at_s >= watched.struck_at_s]
        until_s = min(named, default=watched.given_up_at_s)
        return {"lost": watched.stopped_at_s, "detect": max(until_s - watched.stopped_at_s, 0.0)}
    if found.live or twin_s is None or struck_s is None:
        return {}
    return {"useful": min(twin_s, struck_s), "slow": max(struck_s - twin_s, 0.0)}


def _verdict(said: RunVerdict) -> dict[str, Any]:
    verdict = said.verdict
    return {
        "detector": said.detector,
        "at_s": said.at_s,
        "component": {"kind": verdict.suspect.kind, "name": verdict.suspect.name},
        "kind": verdict.kind,
        "onset_s": verdict.onset_s,
        "severity": verdict.severity if isfinite(verdict.severity) else None,
        "confidence": verdict.confidence,
        "evidence": verdict.evidence,
        "raised": verdict.raised,
        "right": said.right,
    }


def fault_run_text(found: FaultRunResult, watched: WatchedRun | None = None) -> str:
    """Lines for people."""
    lines = [f"{found.topology.name}, {'live' if found.live else 'virtual'}: {len(found.faults)} faults"]
    for fault in found.faults:
        lasts = "for good" if fault.for_s is None else f"for {quantity(fault.for_s, 's')}"
        lines.append(
            f"fault       {fault.target} {fault.kind} {fault.severity:g} at {quantity(fault.at_s, 's')} {lasts}"
        )
    lines.append(f"without     {end_text(found.twin)}")
    lines.append(f"with        {end_text(found.struck)}")
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
    if watched is not None:
        lines += _verdict_lines(watched)
    return "\n".join(lines)


def _verdict_lines(watched: WatchedRun) -> list[str]:
    lines = []
    if watched.struck_at_s:
        begin = quantity(watched.struck_at_s, "s")
        lines.append(f"watched     the call over and over: without faults for {begin}, and then with them")
    for said in watched.verdicts:
        verdict = said.verdict
        word = {True: "right", False: "wrong", None: "on the way"}[said.right]
        how = f"{verdict.severity:.2f} times slower" if isfinite(verdict.severity) else "stands still"
        if not verdict.raised:
            lines.append(f"cleared     {said.detector} at {quantity(said.at_s, 's')}: {verdict.suspect}")
            continue
        lines.append(
            f"verdict     {said.detector} at {quantity(said.at_s, 's')}: {verdict.suspect} ({word}), {verdict.kind}, "
            f"{how}; {verdict.evidence}"
        )
    lines += [f"undetected  {fault.text or fault.target}: no detector named it" for fault in watched.undetected]
    return lines


def end_text(end: RunEnd) -> str:
    """How a run ended, in words."""
    if end.ended != "ok":
        return f"{end.ended}: {end.message}"
    values = {True: ", values right", False: ", VALUES WRONG", None: ""}[end.values_right]
    return f"ok in {quantity(end.time_s, 's')}{values}" if end.time_s is not None else f"ok{values}"

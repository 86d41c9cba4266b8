"""Writes what a job that stands still would leave: Flight Recorder dumps, Inspector, RAS and DCGM, and a timeline."""

from __future__ import annotations

import json
from pathlib import Path

from controller.diagnosis.campaign import BLOCK, COMPUTE_S, Campaign
from controller.diagnosis.entries import CampaignEntry
from controller.diagnosis.formats.dcgm import FELL_OFF_THE_BUS, DeviceReading, dcgm_text
from controller.diagnosis.formats.flight_recorder import write_dumps
from controller.diagnosis.formats.flight_recorder_written import dump_contents
from controller.diagnosis.formats.inspector import inspector_gauges, inspector_lines
from controller.diagnosis.formats.ras import ras_status, ras_text
from controller.diagnosis.formats.trace_events import trace_events
from controller.diagnosis.replay import HEALTHY, Replay
from controller.diagnosis.telemetry import OperationRecords
from controller.diagnosis.twin import strike_of
from controller.diagnosis.workloads import ELEMENTS

BEFORE = 4
"""Steps before the fault."""


def record_entry(campaign: Campaign, entry: CampaignEntry, folder: Path) -> tuple[Path, ...]:
    """Runs some steps of an entry, and writes what the job leaves.

    Args:
        campaign: the job.
        entry: its faults strike after a few steps.
        folder: where files go; made when it is not there.

    Returns:
        The dumps.
    """
    job = Replay(
        campaign.workload, campaign.hosts, COMPUTE_S, [campaign.noise((campaign.spec.seed, entry.number)).block(BLOCK)]
    )
    strike = strike_of(entry.faults, campaign.workload)
    records: list[OperationRecords] = []
    for step in range(BEFORE + 1):
        events = job.step(step, strike if step == BEFORE else HEALTHY)
        records += [event for event in events if isinstance(event, OperationRecords)]
    rank_of = {device: rank for rank, device in enumerate(campaign.workload.devices)}
    lost = sorted(rank_of[fault.target] for fault in entry.faults if fault.kind in ("kill", "freeze"))
    killed = {fault.target for fault in entry.faults if fault.kind == "kill"}
    written = write_dumps(folder, dump_contents(job.started, records, lost))
    item = 4 * ELEMENTS
    for rank in range(len(job.started.devices)):
        if rank not in lost:
            lines = "\n".join(inspector_lines(job.started, records, item, rank, verbose=True))
            (folder / f"inspector-{rank}.jsonl").write_text(lines + "\n")
    (folder / "inspector.prom").write_text(inspector_gauges(job.started, records, item, 0) if 0 not in lost else "")
    status = ras_status(job.started, records, lost)
    (folder / "ras.json").write_text(json.dumps(status, indent=1) + "\n")
    (folder / "ras.txt").write_text(ras_text(job.started, status))
    readings = []
    for device, host in zip(job.started.devices, job.started.hosts, strict=True):
        model = campaign.spec.topology.devices[device].spec.product
        error = float(FELL_OFF_THE_BUS) if device in killed else 0.0
        readings.append(DeviceReading(device, host, model, {"DCGM_FI_DEV_XID_ERRORS": error}))
    (folder / "dcgm.prom").write_text(dcgm_text(readings))
    (folder / "timeline.json").write_text(trace_events(job.started, records, readings))
    return tuple(written)

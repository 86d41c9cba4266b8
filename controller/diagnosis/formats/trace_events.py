"""What a job recorded as events of the Chrome trace format, for Perfetto: operations, RAS counts, DCGM errors.

A process of the trace is a host, a thread of it a rank. An operation that never ended is drawn to the end of the trace
and says so. Times are those of the job's virtual clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from controller.diagnosis.formats.dcgm import DeviceReading
from controller.diagnosis.telemetry import JobStarted, OperationRecords

UNTIL_S = 1.0
"""How far an open operation is drawn beyond the last instant [s]."""


def trace_events(job: JobStarted, records: Iterable[OperationRecords], readings: Sequence[DeviceReading] = ()) -> str:
    """The trace as JSON.

    Args:
        job: the ranks.
        records: all operations, in any order.
        readings: of the devices at the end; values above 0 become instants.
    """
    kept = sorted(records, key=lambda each: (each.seq, each.ranks.tolist()))
    ends = [float(at) for each in kept for at in (*each.entered_at, *each.done_at) if isfinite(at)]
    end_s = max(ends, default=0.0) + UNTIL_S
    hosts = {host: number for number, host in enumerate(dict.fromkeys(job.hosts))}
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": number, "args": {"name": host}} for host, number in hosts.items()
    ]
    for rank, (device, host) in enumerate(zip(job.devices, job.hosts, strict=True)):
        name = f"rank {rank} ({device})"
        events.append({"ph": "M", "name": "thread_name", "pid": hosts[host], "tid": rank, "args": {"name": name}})
    counts = [0] * len(job.devices)
    for each in kept:
        arrays = (each.ranks, each.communicator, each.entered_at, each.done_at)
        for rank, communicator, entered_at, done_at in zip(*(array.tolist() for array in arrays), strict=True):
            ended = isfinite(done_at)
            place = {"pid": hosts[job.hosts[rank]], "tid": rank, "ts": entered_at * 1e6}
            events.append(
                {
                    "ph": "X", "name": each.what, "cat": "operation", **place,
                    "dur": ((done_at if ended else end_s) - entered_at) * 1e6,
                    "args": {
                        "communicator": str(job.communicators[communicator]), "seq": each.seq,
                        "state": "completed" if ended else "never ended",
                    },
                }
            )  # fmt: skip
            counts[rank] += 1
            name = f"rank {rank} operations"
            events.append({"ph": "C", "name": name, "cat": "RAS", **place, "args": {"entered": counts[rank]}})
    for reading in readings:
        for name, value in sorted(reading.values.items()):
            if value > 0.0:
                events.append(
                    {
                        "ph": "i", "s": "t", "name": f"{name} {value:g}", "cat": "DCGM", "ts": end_s * 1e6,
                        "pid": hosts[reading.host], "tid": job.devices.index(reading.device),
                    }
                )  # fmt: skip
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, separators=(",", ":"), sort_keys=True) + "\n"

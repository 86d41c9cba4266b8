"""NCCL RAS: how many operations each rank has entered in each communicator, and whose counts differ.

Source: NCCL, src/ras; the answer of port 28028 as JSON. A rank that gave no sign of life is missing from its
communicators.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from controller.diagnosis.telemetry import JobStarted, OperationRecords

FUNCTIONS = {"all_reduce": "AllReduce", "all_to_all": "AlltoAll", "send_recv": "SendRecv"}


def ras_status(job: JobStarted, records: Iterable[OperationRecords], missing: Collection[int] = ()) -> dict[str, Any]:
    """What ``VERBOSE STATUS`` says of a job.

    Args:
        job: the ranks and communicators.
        records: all operations so far.
        missing: ranks that give no sign of life.
    """
    counts: dict[tuple[int, int], dict[str, int]] = {}
    for event in records:
        for rank, communicator in zip(event.ranks.tolist(), event.communicator.tolist(), strict=True):
            own = counts.setdefault((communicator, rank), {})
            own[FUNCTIONS[event.what]] = own.get(FUNCTIONS[event.what], 0) + 1
    found = []
    for number, group in enumerate(job.communicators):
        ranks: list[dict[str, Any]] = [
            {
                "rank": place, "device": job.devices[rank], "hostname": job.hosts[rank],
                "opCounts": counts.get((number, rank), {}), "initState": 0, "asyncError": 0, "finalizeCalled": False,
                "destroyFlag": False, "abortFlag": False,
            }
            for place, rank in enumerate(group.ranks) if rank not in missing
        ]  # fmt: skip
        differ = len({tuple(sorted(each["opCounts"].items())) for each in ranks}) > 1
        lost = [place for place, rank in enumerate(group.ranks) if rank in missing]
        found.append(
            {
                "name": group.name, "size": len(group.ranks), "status": "RUNNING",
                "errors": "INCOMPLETE" if lost else "MISMATCH" if differ else "OK", "missing": lost, "ranks": ranks,
            }
        )  # fmt: skip
    return {"communicators": found}

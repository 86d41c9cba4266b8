"""NCCL Inspector: a JSON object a line for every collective of a rank, and the same as Prometheus text.

Source: NCCL, ext-profiler/inspector; keys as in its format "v4.0". Times are those of the job's virtual clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from controller.diagnosis.telemetry import JobStarted, OperationRecords

FORMAT = "v4.0"
NAMES = {"all_reduce": "AllReduce", "all_to_all": "AlltoAll", "send_recv": "SendRecv"}
BUS_FACTORS = {"all_reduce": 2.0, "all_to_all": 1.0, "send_recv": 1.0}
"""busbw over algbw is this times (n - 1) / n; messages of a pair have no factor."""
GAUGES = {
    "nccl_algorithm_bandwidth_gbs": "coll_algobw_gbs",
    "nccl_bus_bandwidth_gbs": "coll_busbw_gbs",
    "nccl_collective_exec_time_microseconds": "coll_exec_time_us",
}


def inspector_lines(
    job: JobStarted, records: Iterable[OperationRecords], message_bytes: int, rank: int, *, verbose: bool = False
) -> Iterator[str]:
    """What the inspector of one rank writes, a line for each operation that has ended.

    Args:
        job: the ranks.
        records: its operations, in order.
        message_bytes: size of each [bytes].
        rank: whose file it is.
        verbose: whether to add ``event_trace_ts``, instants in microseconds: the collective, and its kernel on channel
            0, which is all that telemetry tells of channels.
    """
    for made in _performances(job, records, message_bytes, rank):
        trace = made.pop("event_trace_ts")
        yield json.dumps({**made, "event_trace_ts": trace} if verbose else made, separators=(",", ":"))


def inspector_gauges(job: JobStarted, records: Iterable[OperationRecords], message_bytes: int, rank: int) -> str:
    """The latest of each collective as Prometheus text."""
    latest = {made["coll_perf"]["coll"]: made for made in _performances(job, records, message_bytes, rank)}
    lines = []
    for gauge, key in GAUGES.items():
        lines.append(f"# TYPE {gauge} gauge")
        for coll, made in sorted(latest.items()):
            header = made["header"]
            labels = {
                "comm_id": header["id"], "collective": coll, "hostname": made["metadata"]["hostname"],
                "rank": str(rank), "n_ranks": str(header["n_ranks"]), "n_nodes": str(header["nnodes"]),
                "coll_sn": str(made["coll_perf"]["coll_sn"]),
            }  # fmt: skip
            text = ",".join(f'{name}="{value}"' for name, value in labels.items())
            lines.append(f"{gauge}{{{text}}} {made['coll_perf'][key]:.6g}")
    return "\n".join(lines) + "\n"


def _performances(
    job: JobStarted, records: Iterable[OperationRecords], message_bytes: int, rank: int
) -> Iterator[dict[str, Any]]:
    numbers: dict[int, int] = {}
    for event in sorted(records, key=lambda each: each.seq):
        for at in (event.ranks == rank).nonzero()[0].tolist():
            entered_at, done_at = float(event.entered_at[at]), float(event.done_at[at])
            if done_at == float("inf"):
                continue
            communicator = int(event.communicator[at])
            group = job.communicators[communicator]
            numbers[communicator] = numbers.get(communicator, -1) + 1
            size = len(group.ranks)
            took_s = max(done_at - entered_at, 1e-9)
            algobw = message_bytes / took_s * 1e-9
            factor = BUS_FACTORS[event.what] * (1.0 if event.what == "send_recv" else (size - 1) / size)
            yield {
                "header": {
                    "id": group.name, "rank": group.ranks.index(rank), "n_ranks": size,
                    "nnodes": len({job.hosts[member] for member in group.ranks}),
                },
                "metadata": {
                    "inspector_output_format_version": FORMAT, "git_rev": "", "rec_mechanism": "windtunnel",
                    "dump_timestamp_us": round(done_at * 1e6), "hostname": job.hosts[rank], "pid": rank,
                },
                "coll_perf": {
                    "coll": NAMES[event.what], "coll_sn": numbers[communicator], "coll_msg_size_bytes": message_bytes,
                    "coll_exec_time_us": round(took_s * 1e6), "coll_timing_source": "kernel_gpu",
                    "coll_algobw_gbs": round(algobw, 6), "coll_busbw_gbs": round(algobw * factor, 6),
                },
                "event_trace_ts": _trace_us(entered_at, done_at),
            }  # fmt: skip


def _trace_us(entered_at: float, done_at: float) -> dict[str, Any]:
    begin, end = round(entered_at * 1e6), round(done_at * 1e6)
    kernel = {"channel_id": 0, "kernel_start_ts": begin, "kernel_stop_ts": end, "kernel_record_ts": end}
    return {"coll_start_ts": begin, "coll_stop_ts": end, "kernel_events": [kernel]}

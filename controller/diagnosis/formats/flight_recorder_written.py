"""What PyTorch's Flight Recorder would hold of a job: dumps of the ranks whose process still answers.

A rank that is dead or frozen leaves none. Of messages only those are written that somebody waits for. Collectives are
numbered in each communicator from 1, as the recorder does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from controller.diagnosis.telemetry import JobStarted, OperationRecords

VERSION = "2.10"
BACKEND = "nccl"
KEPT = 2000
"""Operations that the recorder holds, the latest (TORCH_FR_BUFFER_SIZE's default)."""
SIZES, DTYPE = [[1 << 24]], "Float"


def dump_contents(
    job: JobStarted, records: Iterable[OperationRecords], without: Collection[int] = ()
) -> dict[int, dict[str, Any]]:
    """The content of each rank's dump.

    Args:
        job: the ranks and their communicators.
        records: all operations so far, in any order.
        without: ranks that leave no dump.
    """
    issued: dict[int, list[tuple[float, int, int, str, bool, float, int]]] = {}
    for event in records:
        columns = zip(
            event.ranks.tolist(), event.communicator.tolist(), event.peer.tolist(), event.entered_at.tolist(),
            event.done_at.tolist(), strict=True,
        )  # fmt: skip
        for rank, communicator, peer, entered_at, done_at in columns:
            is_done = done_at != float("inf")
            if event.what == "send_recv" and (is_done or peer < 0):
                continue  # messages that came are summed up over micro-batches, with no pair to write down
            issued.setdefault(rank, []).append(
                (entered_at, event.seq, communicator, event.what, is_done, done_at, peer)
            )
    numbers: dict[tuple[int, int], int] = {}
    for seq, communicator in sorted({(each[1], each[2]) for ops in issued.values() for each in ops}):
        numbers[communicator, seq] = 1 + sum(1 for known, _ in numbers if known == communicator)
    return {
        rank: _content(job, rank, sorted(issued.get(rank, ()))[-KEPT:], numbers)
        for rank in range(len(job.devices))
        if rank not in without
    }


def _content(
    job: JobStarted,
    rank: int,
    ops: list[tuple[float, int, int, str, bool, float, int]],
    numbers: dict[tuple[int, int], int],
) -> dict[str, Any]:
    own = [(number, group) for number, group in enumerate(job.communicators) if rank in group.ranks]
    status = {str(number): {"last_enqueued_collective": 0, "last_started_collective": 0, "last_completed_collective": 0}
              for number, _ in own}  # fmt: skip
    entries: list[dict[str, Any]] = []
    for record_id, (entered_at, seq, communicator, what, is_done, done_at, peer) in enumerate(ops):
        group, number = job.communicators[communicator], numbers[communicator, seq]
        is_p2p = peer >= 0
        name = what if not is_p2p else f"recv {group.ranks.index(rank)}<-{group.ranks.index(peer)}"
        progress = status[str(communicator)]
        progress["last_enqueued_collective"] = progress["last_started_collective"] = number
        if is_done:
            progress["last_completed_collective"] = number
        entries.append(
            {
                "record_id": record_id,
                "pg_id": communicator,
                "process_group": (group.name, group.purpose),
                "collective_seq_id": 0 if is_p2p else number,
                "p2p_seq_id": number if is_p2p else 0,
                "op_id": number,
                "profiling_name": f"{BACKEND}:{name}",
                "time_created_ns": round(entered_at * 1e9),
                "time_discovered_started_ns": round(entered_at * 1e9),
                "time_discovered_completed_ns": round(done_at * 1e9) if is_done else None,
                "input_sizes": SIZES,
                "input_dtypes": [DTYPE],
                "output_sizes": SIZES,
                "output_dtypes": [DTYPE],
                "state": "completed" if is_done else "started",
                "timeout_ms": 600_000,
                "is_p2p": is_p2p,
                "retired": is_done,
                "frames": [],
            }
        )
    config = {
        group.name: {"name": group.name, "desc": group.purpose, "ranks": str(list(group.ranks))} for _, group in own
    }
    return {"version": VERSION, "pg_config": config, "pg_status": status, "entries": entries, "rank": rank}

"""The measured step of a captured program as PyTorch's profiler writes one, which its tools and Perfetto open.

A process per captured rank, a track per stream; kernels and collectives are slices of category ``kernel``, collectives
with the arguments that tools look for. Instants are microseconds from the beginning of the measured step.
Source: PyTorch Kineto, output of the Chrome trace logger: traceEvents, distributedInfo, arguments of NCCL kernels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from node.hardware.units import KILO, MEGA

if TYPE_CHECKING:
    from controller.capture.timing.run import PlayedSteps

COPY_CATEGORY = "gpu_memcpy"


def kineto_text(played: PlayedSteps, ranks: Mapping[int, str], world_size: int) -> str:
    """The JSON text.

    Args:
        played: the steps.
        ranks: captured ranks, in the order of the players.
        world_size: of the job.
    """
    events: list[dict[str, Any]] = []
    numbers = list(ranks)
    last = max((note.step for note in played.notes), default=0)
    for rank in numbers:
        events.append({"ph": "M", "name": "process_name", "pid": rank, "tid": 0, "args": {"name": f"rank {rank}"}})
    for correlation, note in enumerate(note for note in played.notes if note.step == last):
        began, ended = played.span(note)
        args: dict[str, Any] = {"stream": note.stream, "device": numbers[note.player], "correlation": correlation}
        name, category = note.name, COPY_CATEGORY if note.kind == "copy" else "kernel"
        if note.kind == "collective":
            kind, _, group = note.name.partition(" ")
            cost = played.costs.get(played.meeting_row.get(note.row, -1))
            name = f"ncclDevKernel_{kind}"
            args |= {"Collective name": kind, "Process Group Name": group}
            if cost is not None:
                args |= {"Group size": cost.world_size, "dtype": cost.dtype, "In msg nelems": cost.elements_in}
                args |= {"Out msg nelems": cost.elements_out}
        events.append(
            {
                "ph": "X", "cat": category, "name": name, "pid": numbers[note.player], "tid": max(note.stream, 0),
                "ts": _us(began - played.measured_from), "dur": _us(ended - began), "args": args,
            }
        )  # fmt: skip
    whole = {
        "schemaVersion": 1,
        "distributedInfo": {"backend": "nccl", "rank": numbers[0] if numbers else 0, "world_size": world_size},
        "traceEvents": events,
    }
    return json.dumps(whole, separators=(",", ":")) + "\n"


def _us(seconds: float) -> float:
    return round(seconds * MEGA * KILO) / KILO

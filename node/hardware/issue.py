"""What the host adds to a sequence of kernels: launching them one by one, or replaying them as a graph.

Model (eager): the host works through the operations, `framework_s` for each beside the launch itself, and runs ahead of
the device. A kernel starts when it has been launched and the one before it has ended; short kernels therefore begin one
host interval apart, long ones back to back with the device's gap. A host that may be only `depth` launches ahead waits.
Model (graph): one launch for all, then the shorter gap inside a graph between each.
Source: NVIDIA, 'Getting Started with CUDA Graphs' (developer blog, 2019): launching eagerly takes longer than short
kernels last; two servers in tandem (Kleinrock, Queueing Systems I, 1975) for who waits for whom.
Valid for: one stream, operations that do not wait for results.
Not modelled: captures, graphs that branch, synchronisation, other threads of the host.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

LAUNCHES_AHEAD: Final = 1024
"""Launches that a stream takes before the host waits, on NVIDIA devices about a thousand."""


def eager_time_s(
    kernels_s: Sequence[float],
    launch_s: float,
    gap_s: float = 0.0,
    framework_s: float = 0.0,
    depth: int = LAUNCHES_AHEAD,
) -> float:
    """From the first call on the host to the end of the last kernel [s].

    Args:
        kernels_s: of each kernel alone, in order [s].
        launch_s: of the host for one launch [s].
        gap_s: on the device between two kernels [s].
        framework_s: of the host for one operation beside the launch: checks, shapes, memory [s].
        depth: launches that the host may be ahead of the kernel that runs.

    Raises:
        ValueError: no launch may be ahead.
    """
    if depth < 1:
        raise ValueError(f"depth is {depth}; at least one launch is in flight")
    host_s = device_s = 0.0
    starts: deque[float] = deque(maxlen=depth)
    for kernel_s in kernels_s:
        if len(starts) == depth:
            host_s = max(host_s, starts[0])
        host_s += framework_s + launch_s
        started_s = max(host_s, device_s + gap_s if starts else 0.0)
        starts.append(started_s)
        device_s = started_s + kernel_s
    return device_s


def graph_time_s(kernels_s: Sequence[float], launch_s: float, gap_s: float = 0.0) -> float:
    """From the call that replays a graph to the end of its last kernel [s].

    Args:
        kernels_s: of each kernel alone, in order [s].
        launch_s: of the host for the whole graph [s].
        gap_s: on the device between two kernels of a graph [s].
    """
    if not kernels_s:
        return 0.0
    return launch_s + sum(kernels_s) + (len(kernels_s) - 1) * gap_s

"""What it takes to start a kernel, beside the kernel itself.

Model: back-to-back kernels on a stream begin one `launch` apart even when they do nothing; that is what plans pay for
each. Inside a replayed graph the gap is shorter (`graph`), and the least duration of a kernel comes on top: fetching
its code and arguments, the first access to memory, and the last store.
Source: `KERNEL_START_S` is fitted to the shortest rows of NVIDIA aiconfigurator's GEMM table of H100 SXM, given the gap
of 1.26 us inside a graph; empty kernels last about as long on every GPU of the last ten years.
Valid for: kernels in a graph, one after the other.
Not modelled: programmatic dependent launch, graphs whose branches run side by side.
"""

from __future__ import annotations

from typing import Final

from node.hardware.device import DeviceSpec

KERNEL_START_S: Final = 1.25e-6
"""Fitted: least duration of a kernel [s]."""
GRAPH_SHARE: Final = 0.53
"""Gap inside a graph over the launch of back-to-back kernels, where a sheet gives no gap (H200: 1.26 of 2.4 us)."""


def graph_start_s(spec: DeviceSpec) -> float:
    """What one kernel in a replayed graph takes beyond its time alone [s]."""
    queue = spec.compute_queue
    if queue is None or not queue.launch_s:
        return 0.0
    if spec.kind != "gpu":
        return queue.launch_s
    return graph_gap_s(spec) + KERNEL_START_S


def graph_gap_s(spec: DeviceSpec) -> float:
    """Gap on the device between two kernels of a replayed graph [s]."""
    queue = spec.compute_queue
    if queue is None:
        return 0.0
    gap = spec.constants.get(f"{queue.name}.graph")
    return gap.value if gap is not None else GRAPH_SHARE * queue.launch_s

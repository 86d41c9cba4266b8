"""What it takes to start a kernel, beside the kernel itself.

Model: back-to-back kernels on a stream begin one `launch` apart even when they do nothing; that is what plans pay for
each. Inside a replayed graph the gap is shorter (`graph`), and the least duration of a kernel comes on top: fetching
its code and arguments, which takes cycles, and the first access to memory and the last store, which take time whatever
the clock. Where kernels start early (`early_start`: programmatic dependent launch), the next one is launched, placed on
the units and past its preamble before the one before it ends; of the gap only the wait for the stores of that one is
left, a trip to the last-level cache for the flush and one for its notice.
Source: NVIDIA, CUDA Programming Guide, section 4.5 (programmatic dependent launch), and CUTLASS documentation,
'Dependent kernel launches' (every Blackwell kernel with it waits for the flush of the one before); Luo et al.,
'Benchmarking and Dissecting the Nvidia Hopper GPU Architecture via Microbenchmarking', arXiv 2402.13499 (latency of
the L2). `KERNEL_START_S` is fitted to the shortest rows of NVIDIA aiconfigurator's GEMM table of H100 SXM, given the
gap of 1.26 us inside a graph.
Valid for: kernels in a graph, one after the other.
Not modelled: early starts on Hopper, where a library may have them but the shortest kernels of the table do not show
them; graphs whose branches run side by side.
"""

from __future__ import annotations

from typing import Final

from node.hardware.device import DeviceSpec

KERNEL_START_S: Final = 1.25e-6
"""Fitted: least duration of a kernel at `START_CLOCK_HZ` [s]."""
START_CLOCK_HZ: Final = 1.83e9
"""Clock of the device that `KERNEL_START_S` is from [Hz]."""
CLOCKED_SHARE: Final = 0.5
"""Assumed: share of it that takes a fixed number of cycles; the rest is latency of device memory."""
FLUSH_CYCLES: Final = 2 * 270.0
"""Two trips to the last-level cache that a kernel which started early waits for [cycles]; one takes 260 to 275."""
GRAPH_SHARE: Final = 0.53
"""Gap inside a graph over the launch of back-to-back kernels, where a sheet gives no gap (H200: 1.26 of 2.4 us)."""


def graph_start_s(spec: DeviceSpec, early: bool = True) -> float:
    """What one kernel in a replayed graph takes beyond its time alone [s].

    Args:
        spec: the device.
        early: the kernel starts early where the device can; one whose preamble already needs what the kernel before
            wrote does not.
    """
    queue = spec.compute_queue
    if queue is None or not queue.launch_s:
        return 0.0
    if spec.kind != "gpu":
        return queue.launch_s
    clock_hz = _constant(spec, "clock") or START_CLOCK_HZ
    shortest_s = KERNEL_START_S * (1.0 - CLOCKED_SHARE + CLOCKED_SHARE * START_CLOCK_HZ / clock_hz)
    if early and _constant(spec, "early_start"):
        return FLUSH_CYCLES / clock_hz + shortest_s
    return graph_gap_s(spec) + shortest_s


def _constant(spec: DeviceSpec, name: str) -> float:
    """The constant `name` of the first unit that has it; 0 where none has."""
    return next((unit.constants[name] for unit in spec.computes.values() if name in unit.constants), 0.0)


def graph_gap_s(spec: DeviceSpec) -> float:
    """Gap on the device between two kernels of a replayed graph [s]."""
    queue = spec.compute_queue
    if queue is None:
        return 0.0
    gap = spec.constants.get(f"{queue.name}.graph")
    return gap.value if gap is not None else GRAPH_SHARE * queue.launch_s

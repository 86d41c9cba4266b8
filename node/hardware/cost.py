"""How long one kernel takes alone on a device, and what it moves: the one place that both executors ask.

Model: `time_s` comes from the model of the kernel's family, which says how its bounds in `parts` (arithmetic, every
tier, power, a floor) combine; it is never below the roofline of declared bandwidths. `latency_s` is paid before: the
start of an op on its queue and the latency of the slowest tier that it touches.
Source: see the module of each family.
Operands that a kernel converts as it reads them (``conversion`` of ``dims``, in lane instructions) are a stage more of
its pipeline, whatever the family (`conversion.py`).
Valid for: a kernel with the device to itself; sharing is the executor's.
A demand whose ``dims`` say ``span`` claims that operands are still in the last-level cache (`cache.py`): benchmarks do,
plans never but those of the optimizer's benchmarks (``span`` of ``adam_pieces``), whose bytes are those that cross the
memory.
A queue with a share of the cores has that share of the peak, of the cores and of the cache's rate, and all of the
memory: kernels of two such queues share its bandwidth as any two do.
Not modelled: queues that together have more cores than the device; overlap of a kernel's tail with the next one's
start; clocks that sink with power and temperature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from node.errors import Unsupported
from node.hardware.conversion import conversion_time, with_conversion
from node.hardware.decode_attention import decode_ranges, decode_time
from node.hardware.device import ComputeSpec, DeviceSpec
from node.hardware.elementwise import streaming_time
from node.hardware.gemm import gemm_time
from node.hardware.latent_attention import latent_decode_time
from node.hardware.operation import Demand
from node.hardware.optimizer import memory_share, optimizer_time
from node.hardware.peak import choose_unit, part_of_cores, peak_flop_per_s, whole_chip
from node.hardware.prefill_attention import prefill_time
from node.hardware.quantisation import quantisation_time
from node.hardware.selection import selection_time
from node.hardware.traffic import tier_bytes, tiers_latency_s, tiers_time_s

Model = Callable[[Demand, ComputeSpec, float, Mapping[str, float]], tuple[float, dict[str, float]]]

FAMILIES: Final[Mapping[str, Model]] = {
    "gemm": gemm_time,
    "prefill_attention": prefill_time,
    "decode_attention": decode_time,
    "sparse_attention": decode_time,
    "elementwise": streaming_time,
    "grouped_gemm": gemm_time,
    "latent_prefill": prefill_time,
    "latent_decode": latent_decode_time,
    "optimizer": optimizer_time,
    "quantisation": quantisation_time,
    "selection": selection_time,
}
"""Family of a demand -> its model; ``delay`` needs none."""


@dataclass(frozen=True, slots=True)
class KernelCost:
    """What one launch costs on a device that does nothing else.

    Attributes:
        time_s: from its first byte or FLOP to its last, without `latency_s` [s].
        latency_s: device-side start of the op and tier latency, paid before [s].
        read_bytes: bytes read, by tier, in whole pages [bytes].
        write_bytes: bytes written, by tier, in whole pages [bytes].
        bound: the largest part: ``compute``, a tier, ``power``, ``conversion``, ``floor`` or ``delay``.
        parts: seconds of every bound [s].
    """

    time_s: float
    latency_s: float
    read_bytes: Mapping[str, int]
    write_bytes: Mapping[str, int]
    bound: str
    parts: Mapping[str, float]


def kernel_cost(
    spec: DeviceSpec, demand: Demand, input_tiers: Sequence[str], output_tiers: Sequence[str], queue_name: str = ""
) -> KernelCost:
    """Cost of one launch alone on `spec`.

    Args:
        spec: the device.
        demand: work of the launch, from the operation table.
        input_tiers: tier of each input, in order.
        output_tiers: tier of each output, in order.
        queue_name: compute queue that it runs on, which may have a share of the cores alone; "" for the first.

    Raises:
        Unsupported: no model for the family, no compute unit, or no peak for the dtype.
        UnknownTier: the device lacks a tier.
    """
    queue = spec.queue_of_kernel(queue_name)
    start_s = queue.launch_s if queue is not None else 0.0
    if demand.family == "delay":
        seconds = float(demand.dims["seconds"])
        return KernelCost(seconds, 0.0, {}, {}, "delay", {"delay": seconds})
    if not any(demand.writes):  # extents of zero: nothing is computed
        return KernelCost(0.0, start_s, {}, {}, "floor", {"floor": 0.0, "compute": 0.0, "memory": 0.0})
    model = FAMILIES.get(demand.family)
    if model is None:
        raise Unsupported(f"no cost model for kernels of family {demand.family!r}; known: delay, {', '.join(FAMILIES)}")
    unit = choose_unit(spec, demand.unit)
    if demand.family in ("selection", "quantisation") or "again" in demand.dims:
        unit = whole_chip(spec, unit)
    if queue is not None and queue.share < 1.0:
        unit = part_of_cores(unit, queue.share)
    peak = peak_flop_per_s(unit, demand.dtype, spec.product)
    ranges = decode_ranges(demand) if demand.family == "decode_attention" else None
    read_bytes = tier_bytes(spec, demand.reads, input_tiers, ranges)
    write_bytes = tier_bytes(spec, demand.writes, output_tiers)
    tier_s = tiers_time_s(spec, read_bytes, write_bytes)
    time_s, parts = model(demand, unit, peak, tier_s)
    if instructions := demand.dims.get("conversion", 0.0):
        parts["conversion"] = converted_s = conversion_time(instructions, spec)
        time_s = with_conversion(time_s, converted_s)
    bound = max(parts, key=parts.__getitem__)
    for name, seconds in tier_s.items():
        # An efficiency above 1 describes boost clocks, never a faster bus; what a cache holds does not cross it.
        if seconds > time_s and "span" not in demand.dims:
            time_s, bound = seconds, name
    latency_s = start_s + tiers_latency_s(spec, read_bytes, write_bytes)
    if demand.family == "optimizer" and "span" in demand.dims:
        share = memory_share(demand, unit)
        read_bytes, write_bytes = (
            {name: round(share * size) for name, size in moved.items()} for moved in (read_bytes, write_bytes)
        )
    return KernelCost(time_s, latency_s, read_bytes, write_bytes, bound, parts)

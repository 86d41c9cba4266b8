"""Questions about the host: kernels that it launches, and memory that its cores share."""

from __future__ import annotations

from math import inf
from typing import Final

from controller.devices.predict.question import Column, Prediction, Question, Sizes, number
from controller.errors import BadQuestion
from node.hardware.device import DeviceSpec, TierSpec
from node.hardware.dram import BANKS, cxl_bytes_per_s, loaded_latency_s, mixed_bytes_per_s, queued_latency_s
from node.hardware.issue import eager_time_s, graph_time_s
from node.hardware.launch import graph_gap_s
from node.hardware.traffic import tier_time_s
from node.hardware.units import GIGA

MOST_KERNELS: Final = 1_000_000
"""Of a sequence, whose launches are gone through one by one."""


def launches(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """A sequence of equal kernels, launched one by one or replayed as a graph."""
    issue, queue = spec.issue_queue, spec.compute_queue
    if issue is None or queue is None:
        raise BadQuestion(f"{spec.product} ({spec.kind}) has no issue queue, so no kernel can be launched on it")
    count = number(sizes, "kernels")
    kernels = [number(sizes, "kernel_ns") / GIGA] * count
    framework_s = number(sizes, "framework_ns") / GIGA
    kernels_s = sum(kernels)
    if sizes["mode"] == "graph":
        gap_s = graph_gap_s(spec)
        host_s = framework_s + issue.launch_s
        time_s = framework_s + graph_time_s(kernels, issue.launch_s, gap_s)
    else:
        gap_s = queue.launch_s
        host_s = count * (framework_s + issue.launch_s)
        time_s = eager_time_s(kernels, issue.launch_s, gap_s, framework_s)
    parts = {"host": host_s, "kernels": kernels_s, "gaps": (count - 1) * gap_s}
    bound = "host" if host_s > kernels_s + parts["gaps"] else max(("kernels", "gaps"), key=parts.__getitem__)
    return Prediction(time_s, bound, parts)


def host_memory(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """Bytes that all cores read and write together, beside a share of the bandwidth that others use."""
    tier = _tier(spec, str(sizes["tier"]))
    writes, used = number(sizes, "write_percent") / 100.0, number(sizes, "used_percent") / 100.0
    if writes > 1.0 or used >= 1.0:
        raise BadQuestion(
            f"write_percent is {sizes['write_percent']} and used_percent {sizes['used_percent']}; at most 100 of bytes "
            f"are writes, and of the bandwidth less than 100 may be used already"
        )
    limit = mix_bytes_per_s(spec, tier, writes)
    nbytes = number(sizes, "bytes")
    # A store reads its line before it writes, so the first access of any mix is a read.
    channels = number(sizes, "channels")
    latency_s = loaded_latency_s(tier.read_latency_s, used * limit, limit)
    if channels:
        latency_s = queued_latency_s(tier.read_latency_s, used * limit, limit, channels)
        if latency_s == inf:
            raise BadQuestion(
                f"{channels} channels of {BANKS} banks cannot take {used:.0%} of {limit / GIGA:.4g} GB/s in random "
                f"rows; give the channels that the device has"
            )
    move_s = nbytes / (limit * (1.0 - used))
    parts = {"latency": latency_s, tier.name: move_s}
    return Prediction(latency_s + move_s, max(parts, key=parts.__getitem__), parts, moved_bytes=float(nbytes))


def mix_bytes_per_s(spec: DeviceSpec, tier: TierSpec, write_share: float) -> float:
    """Rate of `tier` for a mix [bytes/s]: the DRAM model on what a datasheet prints, the sheet's own where measured."""
    alone = 1.0 / tier_time_s(tier, 1.0 - write_share, write_share)
    constant = spec.constants.get(f"{tier.name}.read")
    if tier.storage != "dram" or constant is None or constant.kind == "measured":
        return alone
    if spec.kind == "cxl":
        printed = tier.total_bytes_per_s or tier.read_bytes_per_s
        return min(alone, cxl_bytes_per_s(write_share, printed, tier.write_bytes_per_s, tier.read_bytes_per_s))
    return min(alone, mixed_bytes_per_s(tier.read_bytes_per_s, write_share))


def _tier(spec: DeviceSpec, name: str) -> TierSpec:
    if spec.kind not in ("cpu", "cxl"):
        raise BadQuestion(f"{spec.product} is a {spec.kind}; host_memory is asked of processors and CXL memory")
    if not name:
        return next(iter(spec.tiers.values()))
    if name not in spec.tiers:
        raise BadQuestion(f"{spec.product} has no tier {name!r}; it has {', '.join(spec.tiers)}")
    return spec.tiers[name]


HOSTS: Final = (
    Question(
        "launches",
        "A sequence of equal kernels, launched one by one or replayed as a graph.",
        (
            Column("kernels", "kernels", most=MOST_KERNELS),
            Column("kernel_ns", "time of one alone [ns]", least=0),
            Column("mode", "one launch each, or one for all", "eager", choices=("eager", "graph")),
            Column("framework_ns", "host time of one operation beside the launch in the sheet [ns]", 0, 0),
        ),
        launches,
    ),
    Question(
        "host_memory",
        "Bytes that all cores of a host read and write, in DRAM or on a CXL card.",
        (
            Column("bytes", "bytes read and written"),
            Column("write_percent", "share of them that is written [%]", 0, 0),
            Column("used_percent", "share of the bandwidth that others use [%]", 0, 0),
            Column("channels", "memory channels that share the load; 0 for one queue, the least there is", 0, 0),
            Column("tier", "where they lie; the first unless said", "", word=True),
        ),
        host_memory,
    ),
)

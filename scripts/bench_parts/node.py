"""Measures what a node costs on this machine: kernels a second, push speed, start of 64 nodes, accuracy of the pace."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import psutil

from controller.launch import Cluster, launch
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.client import LaunchKernel, Operand, Push
from node.hardware.device import ComputeSpec, DeviceSpec, PortSpec, QueueSpec, TierSpec

KERNELS = 20_000
PUSH_BYTES = 64 << 20
NODES = 64
DILATION = 10.0


def declared(count: int, rate: float = 1e12) -> Topology:
    """A star of `count` devices with one tier and one port of `rate` each [bytes/s]."""
    spec = DeviceSpec(
        product="bench",
        kind="gpu",
        description="for the benchmark",
        tiers={"hbm": TierSpec("hbm", "dram", 8 << 30, rate, rate)},
        computes={"vector": ComputeSpec("vector", {"fp32": 1e12})},
        ports={"pcie": PortSpec("pcie", rate, rate)},
        queues={"stream": QueueSpec("stream", "compute"), "copy": QueueSpec("copy", "copy")},
    )
    names = [f"gpu{index}" for index in range(count)]
    links = tuple(Link(f"{name}-root", Endpoint(name, "pcie"), Endpoint("root"), rate, rate, 0.0) for name in names)
    devices = {name: Device(name, "gpu", index, "host0", spec) for index, name in enumerate(names)}
    return Topology("bench", "bench", devices, ("root",), links)


def kernels_per_s(cluster: Cluster) -> float:
    """Element-wise kernels on 4 KiB to one node, in batches of 2,000; results counted when they are back."""
    client = cluster.clients["gpu0"]
    for name in ("x", "y"):
        client.allocate(name, "hbm", "fp32", (1024,))
    x, y = Operand("x", 0, (1024,)), Operand("y", 0, (1024,))
    best = 0.0
    for turn in range(3):
        began = time.perf_counter()
        futures = [
            client.submit(
                [LaunchKernel(1 + turn * KERNELS + first + index, "add", (x, x), (y,)) for index in range(2000)],
                ready_at=0.0,
            )
            for first in range(0, KERNELS, 2000)
        ]
        done = [entry for future in futures for entry in future.result(120)]
        assert len(done) == KERNELS and not any(entry.error for entry in done)
        best = max(best, KERNELS / (time.perf_counter() - began))
    return best


def push_and_memcpy(cluster: Cluster) -> tuple[float, float]:
    """64 MiB from one node into the memory of another, and the same within this process [bytes/s]."""
    for name in ("gpu0", "gpu1"):
        cluster.clients[name].allocate("big", "hbm", "uint8", (PUSH_BYTES,))
    whole = Operand("big", 0, (PUSH_BYTES,))
    cluster.clients["gpu0"].write("big", np.arange(PUSH_BYTES, dtype=np.uint8))
    push_s = []
    for turn in range(12):
        began = time.perf_counter()
        (done,) = (
            cluster.clients["gpu0"].submit([Push(900_000 + turn, whole, (("gpu1", whole),))], ready_at=0.0).result()
        )
        assert not done.error
        push_s.append(time.perf_counter() - began)
    source, target = np.ones(PUSH_BYTES, np.uint8), np.zeros(PUSH_BYTES, np.uint8)
    copy_s = []
    for _ in range(12):
        began = time.perf_counter()
        np.copyto(target, source)
        copy_s.append(time.perf_counter() - began)
    # The first push maps the peer's memory and touches its pages.
    return PUSH_BYTES / statistics.median(push_s[2:]), PUSH_BYTES / statistics.median(copy_s[2:])


def start_of_many() -> tuple[float, float]:
    """Wall time until 64 nodes serve [s], and the mean proportional memory of one [bytes]."""
    began = time.perf_counter()
    with launch(declared(NODES)) as cluster:
        start_s = time.perf_counter() - began
        sizes = [psutil.Process(process).memory_full_info().pss for process in cluster.processes.values()]
    return start_s, statistics.mean(sizes)


def pace_ratios() -> tuple[dict[str, tuple[float, int]], int]:
    """Median of paced over declared time by kind of op, for ops above 50 ms of wall time; and overruns."""
    rate, size = 1e9, 10_000_000
    ratios: dict[str, list[float]] = {"delay": [], "kernel": [], "push": [], "wall": []}
    with launch(declared(2, rate), pace=DILATION) as cluster:
        client = cluster.clients["gpu0"]
        for name in ("gpu0", "gpu1"):
            for buffer in ("x", "y"):
                cluster.clients[name].allocate(buffer, "hbm", "uint8", (size,))
        x, y = Operand("x", 0, (size,)), Operand("y", 0, (size,))
        links = ("gpu0-root>", "gpu1-root<")
        with launch(declared(1, rate)) as logical:
            for buffer in ("x", "y"):
                logical.clients["gpu0"].allocate(buffer, "hbm", "uint8", (size,))
            (alone,) = logical.clients["gpu0"].submit([LaunchKernel(1, "copy", (x,), (y,))], ready_at=0.0).result()
            kernel_s = alone.end_at - alone.start_at
        commands = {
            "delay": (0.006, lambda event: LaunchKernel(event, "delay", (), (), {"seconds": 0.006})),
            "kernel": (kernel_s, lambda event: LaunchKernel(event, "copy", (x,), (y,))),
            "push": (
                size / rate,
                lambda event: Push(event, x, (("gpu1", y),), out_port="pcie", in_port="pcie", links=links),
            ),
        }
        event = 1
        for kind, (expected_s, command) in commands.items():
            for _ in range(12):
                event += 1
                begin = cluster.device_now() + 0.001
                (done,) = client.submit([command(event)], ready_at=begin).result()
                returned_s = cluster.device_now() - begin
                ratios[kind].append((done.end_at - begin) / expected_s)
                ratios["wall"].append(returned_s / expected_s)
        overruns = client.counters().overruns
    return {kind: (statistics.median(entries), len(entries)) for kind, entries in ratios.items()}, overruns


def main() -> None:
    """Prints the four figures with what they are held to."""
    with launch(declared(2)) as cluster:
        kernels = kernels_per_s(cluster)
        push, memcpy = push_and_memcpy(cluster)
    print(f"element-wise kernels on 4 KiB to one node   {kernels:10,.0f} /s      (at least 20,000)")
    print(
        f"push of 64 MiB between two nodes            {push / 1e9:10.2f} GB/s    "
        f"(memcpy {memcpy / 1e9:.2f} GB/s, ratio {push / memcpy:.2f}, at least 0.50)"
    )
    start_s, pss = start_of_many()
    print(f"start of {NODES} nodes                           {start_s:10.2f} s       (under 4)")
    print(f"proportional memory of one of them          {pss / 1e6:10.1f} MB      (under 40)")
    medians, overruns = pace_ratios()
    for kind, (median, count) in medians.items():
        print(f"paced / declared time, {kind:20} {median:10.4f}         (median of {count}, 0.98 to 1.02)")
    print(f"overruns while pacing                       {overruns:10d}")


if __name__ == "__main__":
    main()

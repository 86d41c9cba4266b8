"""Collectives over thousands of ranks on the virtual clock: what is simulated, how long that takes, and how it grows.

Every case runs in a process of its own, so that its peak of memory is its own. `wall` is everything from the declared
topology as a Python object to the time of the call: resources, routes, folding, rows and the engine, compiled before.
Run it as ``scripts/bench collectives``; or one case as ``python scripts/bench_parts/collectives.py CASE ...``.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from controller.collectives.bulk.timing import Ground, time_in_bulk
from controller.collectives.call import Call
from controller.collectives.group import Group
from controller.collectives.protocol import PLAIN
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.catalog import load_product

GIB = 1 << 30
NVLINK, NIC = (450e9, 300e-9), (50e9, 1.35e-6)
"""Bandwidth [bytes/s] and latency [s] of a link, as in the shipped topologies."""


def star(ranks: int) -> tuple[Topology, Group]:
    """H100s around one switch."""
    return declared([[f"gpu{rank}" for rank in range(ranks)]], leaves=False)


def hosts(ranks: int) -> tuple[Topology, Group]:
    """Hosts of eight H100s, every GPU with a NIC on one switch."""
    return declared([[f"gpu{first + index}" for index in range(8)] for first in range(0, ranks, 8)], leaves=True)


def declared(chassis: list[list[str]], *, leaves: bool) -> tuple[Topology, Group]:
    """GPUs around the switch of their host, and all around one leaf."""
    spec = load_product("h100_sxm", ())
    devices: dict[str, Device] = {}
    links: list[Link] = []
    for number, names in enumerate(chassis):
        for name in names:
            devices[name] = Device(name, "gpu", len(devices), f"host{number}", spec)
            rate, latency_s = NVLINK
            inner = Endpoint(f"nvswitch{number}")
            links.append(Link(f"{name}-in", Endpoint(name, "nvlink"), inner, rate, rate, latency_s))
            if leaves:
                rate, latency_s = NIC
                links.append(Link(f"{name}-leaf", Endpoint(name, "pcie"), Endpoint("leaf"), rate, rate, latency_s))
    switches = tuple(f"nvswitch{number}" for number in range(len(chassis)))
    topology = Topology("bench", "bench", devices, (*switches, "leaf"), tuple(links))
    names = tuple(devices)
    tier = next(iter(spec.tiers))
    return topology, Group(names, (tier,) * len(names), tuple(device.host for device in devices.values()))


# name: collective, algorithm, fabric, ranks, size [bytes], folded
CASES = {
    "ring_1024": ("all_reduce", "ring", star, 1024, GIB, True),
    "ring_4096": ("all_reduce", "ring", star, 4096, GIB, True),
    "ring_16384": ("all_reduce", "ring", star, 16_384, GIB, True),
    "ring_hosts_1024": ("all_reduce", "ring", hosts, 1024, GIB, True),
    "ring_hosts_4096": ("all_reduce", "ring", hosts, 4096, GIB, True),
    "ring_hosts_16384": ("all_reduce", "ring", hosts, 16_384, GIB, True),
    "hierarchical_1024": ("all_reduce", "hierarchical", hosts, 1024, GIB, True),
    "hierarchical_4096": ("all_reduce", "hierarchical", hosts, 4096, GIB, True),
    "hierarchical_16384": ("all_reduce", "hierarchical", hosts, 16_384, GIB, True),
    "all_to_all_512": ("all_to_all", "direct", star, 512, GIB, True),
    "all_to_all_2048": ("all_to_all", "direct", star, 2048, GIB, True),
    "all_to_all_hosts_512": ("all_to_all", "direct", hosts, 512, GIB, True),
    "all_to_all_hosts_2048": ("all_to_all", "direct", hosts, 2048, GIB, True),
    "pairwise_512": ("all_to_all", "pairwise", star, 512, GIB, True),
    "pairwise_2048": ("all_to_all", "pairwise", star, 2048, GIB, True),
    "unfolded_ring_256": ("all_reduce", "ring", star, 256, GIB, False),
    "unfolded_ring_512": ("all_reduce", "ring", star, 512, GIB, False),
    "unfolded_ring_1024": ("all_reduce", "ring", star, 1024, GIB, False),
    "streamed_ring_2048": ("all_reduce", "ring", star, 2048, GIB + 4, True),
}
FABRICS = {star: "star", hosts: "hosts of 8"}


def one(name: str) -> None:
    """Run a case in this process and print its row."""
    collective, algorithm, fabric, ranks, size, folded = CASES[name]
    small, few = star(2)
    time_in_bulk(Ground(small, few), Call("all_reduce", few, 1024), "ring", PLAIN)
    topology, group = fabric(ranks)
    before = time.perf_counter()
    bulk = time_in_bulk(Ground(topology, group), Call(collective, group, size // 4), algorithm, PLAIN, folded=folded)
    wall_s = time.perf_counter() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    how = ("" if folded else ", not folded") + (", uneven" if size % ranks else "")
    what = f"{collective} {algorithm}, {FABRICS[fabric]}{how}"
    print(
        f"{what:44} {ranks:>7,} {bulk.transfers:>12,} {bulk.rows:>11,} {bulk.classes:>8,} {wall_s:>8.2f}"
        f" {peak / 1024:>8,.0f}   {bulk.time_s:.9f}",
        flush=True,
    )


def main(names: list[str] | None = None) -> int:
    """Print the table; exit code 1 if a case failed."""
    titles = f"{'ranks':>7} {'transfers':>12} {'rows':>11} {'classes':>8} {'wall s':>8} {'MiB':>8}"
    print(f"{'1 GiB a rank':44} {titles}   simulated end s", flush=True)
    failed = False
    for name in names or list(CASES):
        failed |= subprocess.run([sys.executable, __file__, "--one", name], check=False).returncode != 0
    print("rows grow as ranks x classes for rings, as ranks^2 for pairwise and for whatever is not folded")
    return int(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2])
    else:
        sys.exit(main(sys.argv[1:]))

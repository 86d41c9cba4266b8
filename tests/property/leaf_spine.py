"""Two leaves over s spines, built in code: senders on the first leaf, receivers on the second."""

from __future__ import annotations

from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import ComputeSpec, DeviceSpec, PortSpec, QueueSpec, TierSpec

UPLINK_BYTES_PER_S = 10e9
FAST = 1e15
HOST = DeviceSpec(
    "toy", "gpu", "everything but the uplinks is as fast as can be",
    {"hbm": TierSpec("hbm", "dram", 1 << 50, FAST, FAST)},
    {"vector": ComputeSpec("vector", {"fp32": 1e18})},
    {"nic": PortSpec("nic", FAST, FAST)},
    {"stream": QueueSpec("stream", "compute", 1, 0.0)},
)  # fmt: skip


def leaf_spine(hosts: int, spines: int, leaves: int = 2, **options: str) -> Topology:
    """`hosts` a leaf, called ``gpu<leaf>_<index>``; links ``up<leaf>_<spine>``."""
    devices: dict[str, Device] = {}
    links: list[Link] = []
    for leaf in range(leaves):
        for index in range(hosts):
            name = f"gpu{leaf}_{index:03}"
            devices[name] = Device(name, "gpu", len(devices), f"leaf{leaf}", HOST)
            links.append(Link(f"nic-{name}", Endpoint(name, "nic"), Endpoint(f"leaf{leaf}"), FAST, FAST, 0.0))
        for spine in range(spines):
            ends = Endpoint(f"leaf{leaf}"), Endpoint(f"spine{spine}")
            links.append(Link(f"up{leaf}_{spine:03}", *ends, UPLINK_BYTES_PER_S, UPLINK_BYTES_PER_S, 0.0))
    switches = (*(f"leaf{leaf}" for leaf in range(leaves)), *(f"spine{spine}" for spine in range(spines)))
    return Topology("leaf_spine", "test", devices, switches, tuple(links), digest="0" * 64, options=options)

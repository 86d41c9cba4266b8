"""The same topology with other sizes of its tiers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from controller.topology.schema import Topology


def with_capacities(topology: Topology, capacity_bytes: Callable[[str, str, int], int]) -> Topology:
    """`topology` with the capacity of each tier that `capacity_bytes` gives of (device, tier, capacity now) [bytes]."""
    devices = {}
    for name, device in topology.devices.items():
        tiers = {
            key: replace(tier, capacity_bytes=capacity_bytes(name, key, tier.capacity_bytes))
            for key, tier in device.spec.tiers.items()
        }
        devices[name] = replace(device, spec=replace(device.spec, tiers=tiers))
    return replace(topology, devices=devices)

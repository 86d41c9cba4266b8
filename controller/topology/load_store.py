"""Load and store over a link: kernels of a CPU work on the memory of CXL cards where it lies.

A CXL card is memory of its host: cores read and write it line by line, without a copy. So an operand of a kernel of a
CPU may lie in a tier of a device of kind ``cxl`` in the same chassis. Cost models see that tier under the name
``card.tier``, as fast as the card, its port, the links and the port of the CPU allow; the executors load every one of
them, so that kernels, DMA of GPUs and other cards share what they share. Everything else has to be transferred first.

Cards are devices, not tiers of the CPU's sheet: there may be any number of them, each with its own link, and what GPUs
move from and to a card does not pass the CPU.

Not modelled: latency of the link beside the read latency of the card, which its sheet states as the CPU sees it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from controller.errors import UnknownDevice
from controller.topology.graph import routes_of
from controller.topology.schema import Topology
from node.hardware.device import DeviceSpec, TierSpec


def reaches(topology: Topology, device: str, other: str) -> bool:
    """Whether kernels of `device` can name operands in the memory of `other`."""
    if device == other:
        return True
    here, there = topology.devices[device], topology.devices[other]
    return here.spec.kind == "cpu" and there.spec.kind == "cxl" and here.host == there.host


def memory_name(device: str, owner: str, tier: str) -> str:
    """What cost models call a tier of `owner` that a kernel of `device` touches."""
    return tier if device == owner else f"{owner}.{tier}"


def far_tier(topology: Topology, device: str, owner: str, tier: str) -> TierSpec:
    """A tier of another device as kernels of `device` find it.

    Raises:
        UnknownDevice: `owner` has no such tier, or `device` cannot reach it.
        NoRoute: nothing joins the two.
    """
    spec = topology.devices[owner].spec
    if tier not in spec.tiers or not reaches(topology, device, owner):
        raise UnknownDevice(f"kernels of {device} cannot reach {owner}.{tier}; transfer it first")
    reads, writes = [spec.tiers[tier].read_bytes_per_s], [spec.tiers[tier].write_bytes_per_s]
    both = [spec.tiers[tier].total_bytes_per_s]
    hops = routes_of(topology).route(owner, device).hops
    for hop in hops:
        reads.append(hop.link.forward_bytes_per_s if hop.forward else hop.link.backward_bytes_per_s)
        writes.append(hop.link.backward_bytes_per_s if hop.forward else hop.link.forward_bytes_per_s)
    ports = (spec.ports[hops[0].tail.port], topology.devices[device].spec.ports[hops[-1].head.port])
    reads += [ports[0].read_bytes_per_s, ports[1].write_bytes_per_s]
    writes += [ports[0].write_bytes_per_s, ports[1].read_bytes_per_s]
    both += [port.total_bytes_per_s for port in ports]
    total = min((rate for rate in both if rate is not None), default=None)
    return replace(
        spec.tiers[tier], read_bytes_per_s=min(reads), write_bytes_per_s=min(writes), total_bytes_per_s=total
    )


def spec_with_far(topology: Topology, device: str, places: Iterable[tuple[str, str]]) -> DeviceSpec:
    """The spec of `device` with every tier of another device among `places`, (device, tier) each, as one of its own."""
    spec = topology.devices[device].spec
    far = {
        memory_name(device, owner, tier): far_tier(topology, device, owner, tier)
        for owner, tier in dict.fromkeys(places)
        if owner != device
    }
    return replace(spec, tiers={**spec.tiers, **far}) if far else spec

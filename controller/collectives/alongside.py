"""A collective beside other kernels: its channels keep multiprocessors from them, and both share memory and links.

A kernel of a library holds one multiprocessor a channel for as long as it lasts, waiting included. `alongside` is the
topology in which everything runs that runs at the same time as such a kernel: compute has the multiprocessors that are
left, memory is what the sheet says, ports are what the protocol makes of them. `on_channels` moves the kernels of the
collective's plan to a queue of their own, so that they wait for nobody else's.

Simplification: the multiprocessors are taken for the whole run, not only while the collective lasts; and nobody pays
for launches, as in a replayed graph.
"""

from __future__ import annotations

from dataclasses import replace

from controller.collectives.errors import BadCall
from controller.collectives.group import Group
from controller.collectives.protocol import Protocol, as_seen
from controller.plan.ops import Kernel, Plan, vouched
from controller.topology.schema import Topology
from node.hardware.device import ComputeSpec, DeviceSpec, QueueSpec

CHANNELS = "channels"
"""The queue of a library's kernels."""


def alongside(topology: Topology, group: Group, protocol: Protocol) -> Topology:
    """The devices of `group` while a collective goes on by `protocol`.

    Raises:
        BadCall: the protocol takes all multiprocessors of a device, or the device's sheet does not say how many it has.
    """
    seen = as_seen(topology, group, protocol)
    specs: dict[int, DeviceSpec] = {}
    for name, device in seen.devices.items():
        plain = topology.devices[name].spec
        if id(plain) not in specs:
            specs[id(plain)] = _shared(plain, device.spec, protocol)
    devices = {
        name: replace(device, spec=specs[id(topology.devices[name].spec)]) for name, device in seen.devices.items()
    }
    return replace(seen, devices=devices)


def on_channels(plan: Plan) -> Plan:
    """`plan` with its kernels on the queue of channels."""
    ops = tuple(replace(op, queue=CHANNELS) if isinstance(op, Kernel) else op for op in plan.ops)
    return vouched(Plan(plan.name, ops, plan.after, plan.parameters), plan.origin)


def _shared(plain: DeviceSpec, seen: DeviceSpec, protocol: Protocol) -> DeviceSpec:
    computes = {name: _less(unit, plain.product, protocol) for name, unit in plain.computes.items()}
    queues = {**seen.queues, CHANNELS: QueueSpec(CHANNELS, "compute")}
    return replace(seen, computes=computes, queues=queues, tiers=plain.tiers)


def _less(unit: ComputeSpec, product: str, protocol: Protocol) -> ComputeSpec:
    """What is left of a compute unit; one without a count of its own shares the multiprocessors of the others."""
    if not protocol.sms:
        return unit
    count = unit.constants.get("sm_count", 0.0)
    if not count:
        return unit
    if protocol.sms >= count:
        raise BadCall(
            f"protocol {protocol.name} takes {protocol.sms} multiprocessors, and {unit.name} of {product} has "
            f"{count:g}; declare fewer in collective.{protocol.name}.sms"
        )
    left = (count - protocol.sms) / count
    peaks = {dtype: peak * left for dtype, peak in unit.peak_flop_per_s.items()}
    return replace(unit, peak_flop_per_s=peaks, constants={**unit.constants, "sm_count": count - protocol.sms})

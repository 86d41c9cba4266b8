"""A topology as a communication library sees it: what a call, a hop and a byte cost in software.

A collective of a library is one launch, however many steps it has: its reductions are no launches of their own, a call
costs a fixed time to start, a hop costs more than the wire, and a protocol may not reach what a copy engine does. A
topology declares protocols in its options, each with three quantities:

=======================  ==============================================================================================
``collective.ll.base``   from the call to its first byte, once
``collective.ll.hop``    from a byte's leaving one rank to its use at the next, links and ports included
``collective.ll.rate``   bytes that one rank can send, or receive, per second
=======================  ==============================================================================================

Without a protocol (``plain``) every reduction is a launch as the device's sheet declares it, and a hop is links and
ports alone: what a collective costs that is written with ordinary kernels and copies.

Simplification: a library has these constants per algorithm; here they are those of its ring, for all algorithms. A hop
that is longer than the one between the first two ranks (another socket, another host) adds the difference of the wires.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.collectives.errors import BadCall, UnknownAlgorithm
from controller.collectives.group import Group, only
from controller.plan.ops import Kernel, Op, Plan
from controller.topology.graph import route
from controller.topology.nearest import hint
from controller.topology.schema import Device, Topology
from node.errors import BadQuantity
from node.hardware.units import parse

PREFIX = "collective."


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a library moves bytes.

    Attributes:
        name: ``plain``, or as declared.
        base_s: from the call to its first byte [s].
        hop_s: from rank to rank [s]; None for what links and ports declare.
        rate_bytes_per_s: of one rank, each way [bytes/s]; None for what its port declares.
    """

    name: str
    base_s: float = 0.0
    hop_s: float | None = None
    rate_bytes_per_s: float | None = None


PLAIN = Protocol("plain")
_PARTS = {"base": "s", "hop": "s", "rate": "bytes/s"}


def protocols_of(topology: Topology) -> tuple[Protocol, ...]:
    """What a topology declares, in its order; `PLAIN` alone when it declares none.

    Raises:
        BadCall: an option that is no quantity, or a protocol that lacks one of the three.
    """
    declared: dict[str, dict[str, float]] = {}
    for key, text in topology.options.items():
        if not key.startswith(PREFIX):
            continue
        name, _, what = key.removeprefix(PREFIX).rpartition(".")
        if what not in _PARTS or not name:
            raise BadCall(f"{topology.name}: option {key!r} is none of {PREFIX}NAME.base, .hop and .rate")
        try:
            declared.setdefault(name, {})[what] = parse(text, _PARTS[what])
        except BadQuantity as error:
            raise BadCall(f"{topology.name}: option {key}: {error}") from error
    for name, parts in declared.items():
        for what in _PARTS:
            if what not in parts:
                raise BadCall(f"{topology.name}: protocol {name!r} lacks the option {PREFIX}{name}.{what}")
    found = tuple(Protocol(name, parts["base"], parts["hop"], parts["rate"]) for name, parts in declared.items())
    return found or (PLAIN,)


def protocol_of(topology: Topology, name: str) -> Protocol:
    """The protocol called `name`, or `PLAIN`.

    Raises:
        UnknownAlgorithm: the topology declares no such protocol; names the nearest one.
    """
    known = {each.name: each for each in (PLAIN, *protocols_of(topology))}
    if name not in known:
        raise UnknownAlgorithm(
            f"{topology.name} declares no protocol {name!r}{hint(name, ('auto', *known), 'protocols')}"
        )
    return known[name]


def as_seen(topology: Topology, group: Group, protocol: Protocol) -> Topology:
    """The devices of `group` alone, with costs as `protocol` has them.

    Raises:
        NoRoute: two neighbours of the group that no link joins.
    """
    bare = only(topology, group)
    if protocol.hop_s is None or protocol.rate_bytes_per_s is None:
        return bare
    software_s = 0.0
    if group.world_size > 1:
        found = route(bare, *group.devices[:2])
        ends = zip(group.devices[:2], (found.hops[0].tail.port, found.hops[-1].head.port), strict=True)
        wire_s = found.latency_s + sum(bare.devices[name].spec.ports[port].latency_s for name, port in ends)
        software_s = max(protocol.hop_s - wire_s, 0.0) / 2
    devices = {
        name: _without_launches(device, software_s, protocol.rate_bytes_per_s) for name, device in bare.devices.items()
    }
    return replace(bare, devices=devices)


def with_start(plan: Plan, group: Group, protocol: Protocol) -> Plan:
    """`plan` after the time that `protocol` needs to start, on every rank."""
    if protocol.base_s <= 0 or not plan.ops:
        return plan
    start: list[Op] = [
        Kernel("delay", name, (), (), {"seconds": protocol.base_s}, label="start") for name in group.devices
    ]
    count = len(start)
    everybody = tuple(range(count))
    after = [tuple(index + count for index in waits) or everybody for waits in plan.after]
    return Plan(plan.name, (*start, *plan.ops), (*((),) * count, *after), plan.parameters)


def _without_launches(device: Device, software_s: float, rate: float) -> Device:
    """`device` inside of one long kernel: nothing is launched, and its ports are what the protocol makes of them."""
    queues = {name: replace(queue, launch_s=0.0) for name, queue in device.spec.queues.items()}
    ports = {
        name: replace(
            port,
            latency_s=port.latency_s + software_s,
            read_bytes_per_s=min(port.read_bytes_per_s, rate),
            write_bytes_per_s=min(port.write_bytes_per_s, rate),
        )
        for name, port in device.spec.ports.items()
    }
    return replace(device, spec=replace(device.spec, queues=queues, ports=ports))

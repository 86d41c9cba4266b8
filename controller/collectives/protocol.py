"""A topology as a communication library sees it: what a call, a hop and a byte cost in software.

A collective of a library is one launch, however many steps it has: its reductions are no launches of their own, a call
costs a fixed time to start, a hop costs more than the wire, and a protocol may not reach what a copy engine does. A
topology declares protocols in its options, each with three quantities:

=======================  ==============================================================================================
``collective.ll.base``   from the call to its first byte, once
``collective.ll.hop``    from a byte's leaving one rank to its use at the next, links and ports included
``collective.ll.rate``   bytes that one rank can send, or receive, per second
=======================  ==============================================================================================

and with more where they apply:

=======================  ==============================================================================================
``collective.ll.total``  bytes that one rank can send and receive together per second
``collective.ll.sms``    streaming multiprocessors that its channels keep from other kernels while it runs
``collective.ll.fifo``    bytes that one rank's receive buffers hold for sends, over its channels
``collective.ll.fill``    least time of a hop's bytes in the first pass of a ring that is spread over several channels
``collective.ll.sends``   the base of a call that is made of sends and receives, where it is another
``collective.ll.issue``   what the host needs to submit one send or one receive
``collective.ll.for``    algorithms that go by it, and by no other: ``nvls,in_switch``
=======================  ==============================================================================================

Without a protocol (``plain``) every reduction is a launch as the device's sheet declares it, and a hop is links and
ports alone: what a collective costs that is written with ordinary kernels and copies.

The channels that send also bring a rank's own share to its output: the copy of an all-gather or an all-to-all, the last
sum of a reduction (NCCL, src/device: `directCopySend`, `recvReduceCopy`, a send to oneself). That takes them
``1 / OWN_COPIES`` of the time of a message of the same size.

A message between any two ranks (all_to_all) arrives in a buffer of its receiver, chunk by chunk, and is copied out
while the next chunk comes; what came last, all of it where it fits into the buffers, is copied out after it has come.

Simplification: a library has these constants per algorithm; here they are those of its ring where `for` names none.
A hop that is longer than the one between the first two ranks (another socket, another host) adds the difference of the
wires.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller.collectives.call import Call
from controller.collectives.errors import BadCall, UnknownAlgorithm
from controller.collectives.group import Group, only
from controller.collectives.in_switch import GATHER, SCATTER
from controller.plan.ops import Kernel, Op, Plan, Transfer, vouched
from controller.topology.graph import route
from controller.topology.nearest import hint
from controller.topology.schema import Topology
from node.errors import BadQuantity
from node.hardware.device import DeviceSpec
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
        total_bytes_per_s: of one rank, both ways together [bytes/s]; None for no such limit.
        sms: streaming multiprocessors that it takes from other kernels.
        fifo_bytes: that one rank's receive buffers hold [bytes]; 0 where data arrive in place.
        algorithms: the only ones that go by it, and by it alone; empty for all that no protocol names.
        fill_s: least time of a hop's bytes in the first pass [s]; see `controller.collectives.begins`.
        sends_s: `base_s` of a call that is made of sends [s]; None where it is the same.
        issue_s: of the host, to submit a send or a receive [s].
    """

    name: str
    base_s: float = 0.0
    hop_s: float | None = None
    rate_bytes_per_s: float | None = None
    total_bytes_per_s: float | None = None
    sms: int = 0
    fifo_bytes: int = 0
    algorithms: tuple[str, ...] = ()
    fill_s: float = 0.0
    sends_s: float | None = None
    issue_s: float = 0.0

    @property
    def own_bytes_per_s(self) -> float:
        """Rate at which its channels copy a rank's own share [bytes/s]; 0 where the algorithm says what is copied."""
        return 0.0 if self.algorithms or self.rate_bytes_per_s is None else OWN_COPIES * self.rate_bytes_per_s


PLAIN = Protocol("plain")
UNBOUND = 1000.0
"""Factor on memory inside of a library's kernel: what arrives is added as it arrives and sent on, so memory takes no
time of its own. It passes at most six times what a link does (read and sent, written, two operands read, one written),
and memory of the devices that run such libraries is faster than that."""
OWN_COPIES = 2.0
"""How much faster channels copy within a device than to the next: a step of a ring writes twice, to the own output and
to the next rank (`recvCopySend`), a copy once. Measured: about 2, over operations, counts and chips, above 1 MiB."""
_PARTS = {"base": "s", "hop": "s", "rate": "bytes/s"}
_MORE = {"total": "bytes/s", "sms": "", "fifo": "bytes", "fill": "s", "sends": "s", "issue": "s", "for": ""}


def protocols_of(topology: Topology) -> tuple[Protocol, ...]:
    """What a topology declares, in its order; `PLAIN` alone when it declares none.

    Raises:
        BadCall: an option that is not a quantity, or a protocol that lacks one of the three.
    """
    declared: dict[str, dict[str, float]] = {}
    named: dict[str, tuple[str, ...]] = {}
    for key, text in topology.options.items():
        if not key.startswith(PREFIX):
            continue
        name, _, what = key.removeprefix(PREFIX).rpartition(".")
        if what not in (*_PARTS, *_MORE) or not name:
            raise BadCall(f"{topology.name}: option {key!r} is none of {PREFIX}NAME.{', .'.join((*_PARTS, *_MORE))}")
        if what == "for":
            named[name] = tuple(each.strip() for each in text.split(","))
            continue
        if what == "sms":
            if not text.isdecimal():
                raise BadCall(f"{topology.name}: option {key} is {text!r}; write a whole number of multiprocessors")
            declared.setdefault(name, {})[what] = float(text)
            continue
        try:
            declared.setdefault(name, {})[what] = parse(text, {**_PARTS, **_MORE}[what])
        except BadQuantity as error:
            raise BadCall(f"{topology.name}: option {key}: {error}") from error
    for name in dict.fromkeys((*declared, *named)):
        for what in _PARTS:
            if what not in declared.get(name, {}):
                raise BadCall(f"{topology.name}: protocol {name!r} lacks the option {PREFIX}{name}.{what}")
    found = tuple(
        Protocol(
            name, parts["base"], parts["hop"], parts["rate"], parts.get("total"), int(parts.get("sms", 0)),
            int(parts.get("fifo", 0)), named.get(name, ()), parts.get("fill", 0.0), parts.get("sends"),
            parts.get("issue", 0.0),
        )
        for name, parts in declared.items()
    )  # fmt: skip
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


def suits(protocol: Protocol, name: str, protocols: Sequence[Protocol]) -> bool:
    """Whether the algorithm called `name` can go by `protocol`, one of `protocols`.

    An algorithm that some protocol names goes by that one; the others go by those that name nobody.
    """
    if protocol.algorithms:
        return name in protocol.algorithms
    return protocol is PLAIN or not any(name in each.algorithms for each in protocols)


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
    # Devices of one product go on sharing one sheet, however many they are.
    specs: dict[int, DeviceSpec] = {}
    for device in bare.devices.values():
        if id(device.spec) not in specs:
            specs[id(device.spec)] = _without_launches(device.spec, software_s, protocol)
    devices = {name: replace(device, spec=specs[id(device.spec)]) for name, device in bare.devices.items()}
    return replace(bare, devices=devices)


def copied_out_s(call: Call, protocol: Protocol) -> float:
    """How long a rank copies what came last out of its buffers, where all ranks send to all [s].

    Source: NCCL, src/device/sendrecv.h and prims_simple.h: `recv` copies from the FIFO of a connection.
    """
    if call.collective != "all_to_all" or call.world_size == 1 or not protocol.own_bytes_per_s:
        return 0.0
    received = call.count * call.item_bytes * (call.world_size - 1) / call.world_size
    return min(received, protocol.fifo_bytes) / protocol.own_bytes_per_s


def with_end(plan: Plan, call: Call, protocol: Protocol) -> Plan:
    """`plan` with what ranks do after the last byte has come."""
    seconds = copied_out_s(call, protocol)
    if not seconds:
        return plan
    came: dict[str, list[int]] = {name: [] for name in call.group.devices}
    for index, op in enumerate(plan.ops):
        if isinstance(op, Transfer):
            came[op.destinations[0].buffer.device].append(index)
    ends = [Kernel("delay", name, (), (), {"seconds": seconds}, label="copy out") for name in came]
    # The delays touch no buffer and every old edge is kept.
    after = (*plan.after, *(tuple(arrived) for arrived in came.values()))
    return vouched(Plan(plan.name, (*plan.ops, *ends), after, plan.parameters), plan.origin)


def with_start(plan: Plan, group: Group, protocol: Protocol) -> Plan:
    """`plan` after the time that `protocol` needs to start, on every rank; copies of its channels go at its rate."""
    plan = _held(plan, protocol)
    if protocol.base_s <= 0 or not plan.ops:
        return plan
    start: list[Op] = [
        Kernel("delay", name, (), (), {"seconds": protocol.base_s}, label="start") for name in group.devices
    ]
    count = len(start)
    everybody = tuple(range(count))
    after = [tuple(index + count for index in waits) or everybody for waits in plan.after]
    # The delays touch no buffer and every old edge is kept, so the edges are as right as they were.
    made = Plan(plan.name, (*start, *plan.ops), (*((),) * count, *after), plan.parameters)
    return vouched(made, plan.origin)


def _held(plan: Plan, protocol: Protocol) -> Plan:
    rate = protocol.rate_bytes_per_s
    held = {
        index: replace(op, rate_limit_bytes_per_s=rate)
        for index, op in enumerate(plan.ops)
        if rate is not None and isinstance(op, Transfer) and op.label in (SCATTER, GATHER)
    }
    if not held:
        return plan
    ops = tuple(held.get(index, op) for index, op in enumerate(plan.ops))
    return vouched(Plan(plan.name, ops, plan.after, plan.parameters), plan.origin)


def _without_launches(spec: DeviceSpec, software_s: float, protocol: Protocol) -> DeviceSpec:
    """A device inside of one long kernel: nothing is launched, and its ports are what the protocol makes of them."""
    rate, total = protocol.rate_bytes_per_s, protocol.total_bytes_per_s
    tiers = {
        name: replace(
            tier,
            read_bytes_per_s=tier.read_bytes_per_s * UNBOUND,
            write_bytes_per_s=tier.write_bytes_per_s * UNBOUND,
            total_bytes_per_s=None if tier.total_bytes_per_s is None else tier.total_bytes_per_s * UNBOUND,
        )
        for name, tier in spec.tiers.items()
    }
    assert rate is not None, "a protocol that is declared has a rate"
    queues = {name: replace(queue, launch_s=0.0) for name, queue in spec.queues.items()}
    ports = {
        name: replace(
            port,
            latency_s=port.latency_s + software_s,
            read_bytes_per_s=min(port.read_bytes_per_s, rate),
            write_bytes_per_s=min(port.write_bytes_per_s, rate),
            total_bytes_per_s=_least(port.total_bytes_per_s, total),
        )
        for name, port in spec.ports.items()
    }
    return replace(spec, queues=queues, ports=ports, tiers=tiers)


def _least(a: float | None, b: float | None) -> float | None:
    return min(a, b) if a is not None and b is not None else a if b is None else b

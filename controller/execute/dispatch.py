"""A plan as commands for nodes: who runs what, what each command waits for, and whom it tells.

Every op becomes one command of one node: kernels where they run, transfers at their source, allocations and frees where
the buffer lies. A command waits for the
events of the ops before it; where an op before it runs on another node, that node is told to notify this one, so that
one batch per node carries a whole plan without the controller in between. A message waits for the one before it on its
connection, which the same node sends. (Of two plans that run at once the messages of one connection may mix.)
"""

from __future__ import annotations

from controller.fabric.drawn import drawn
from controller.fabric.loads import Fabric
from controller.plan.bound import bind_kernel
from controller.plan.memo import PlanMemo
from controller.plan.ops import Alloc, Buffer, Kernel, Op, Plan, Transfer, View
from controller.plan.size import Bindings, bind_size
from controller.topology.graph import routes_of
from controller.topology.schema import Topology
from node.client import Allocate, Command, LaunchKernel, Operand, Push, Release
from node.hardware.operations import complete_attributes, operation

Commands = dict[str, list[Command]]


def operand(view: View, bindings: Bindings, device: str = "") -> Operand:
    """A view as nodes address it; `device` is the one that is told of it, which names the device of far memory."""
    shape = tuple(bind_size(extent, bindings) for extent in view.shape)
    owner = "" if view.buffer.device == device or not device else view.buffer.device
    return Operand(buffer_key(view.buffer), bind_size(view.offset_bytes, bindings), shape, owner)


def buffer_key(buffer: Buffer) -> str:
    """Name of a buffer on its node: tier and name, since names are unique within a tier only."""
    return f"{buffer.tier}/{buffer.name}"


_Places = tuple[list[str], list[tuple[str, ...]]]
"""By op: the device that carries it out, and those that must be told of its end."""
_places: PlanMemo[_Places] = PlanMemo()
_owners: PlanMemo[tuple[int, ...]] = PlanMemo()


class Dispatch:
    """Turns plans into commands; remembers what does not change between submissions of one plan."""

    def __init__(self, topology: Topology, fabric: Fabric) -> None:
        self._topology, self._fabric = topology, fabric

    def commands(self, plan: Plan, first_event: int, bindings: Bindings) -> Commands:
        """The commands of one execution.

        Args:
            plan: as the virtual run executes it, with the edges that its allocations need.
            first_event: event of op 0; op i has event ``first_event + i``.
            bindings: numbers for the open sizes.
        """
        where, notify = self._places_of(plan)
        result: Commands = {}
        extra = first_event + len(plan.ops)
        sent: dict[tuple[str, str, str], int] = {}
        for index, op in enumerate(plan.ops):
            event = first_event + index
            wait = tuple(first_event + earlier for earlier in plan.after[index])
            if isinstance(op, Kernel):
                attributes = bind_kernel(op, bindings).attributes
                command: Command = LaunchKernel(
                    event,
                    op.op,
                    tuple(operand(view, bindings, op.device) for view in op.inputs),
                    tuple(operand(view, bindings, op.device) for view in op.outputs),
                    attributes,
                    op.queue,
                    wait,
                    notify[index],
                )
            elif isinstance(op, Transfer) and len(op.sources) > 1:
                for device, part in self._reduction(op, event, extra, wait, notify[index], bindings):
                    result.setdefault(device, []).append(part)
                extra += extra_events(op)
                continue
            elif isinstance(op, Transfer):
                if op.connection:
                    earlier = [sent[ends] for ends in connections_of(op) if ends in sent]
                    sent.update(dict.fromkeys(connections_of(op), event))
                    wait = (*wait, *earlier)
                command = self._push(op, event, wait, notify[index], bindings)
            elif isinstance(op, Alloc):
                made = op.buffer
                command = Allocate(event, buffer_key(made), made.tier, made.dtype, made.shape, wait, notify[index])
            else:
                command = Release(event, buffer_key(op.buffer), wait, notify[index])
            result.setdefault(where[index], []).append(command)
        return result

    def _places_of(self, plan: Plan) -> _Places:
        return _places.of(plan, self._find_places)

    def _find_places(self, plan: Plan) -> _Places:
        where = [_place(op) for op in plan.ops]
        told: list[dict[str, None]] = [{} for _ in plan.ops]
        for index, after in enumerate(plan.after):
            for earlier in after:
                for device in _runs_on(plan.ops[index]):
                    if where[earlier] != device:
                        told[earlier][device] = None
        return where, [tuple(devices) for devices in told]

    def _reduction(
        self, op: Transfer, event: int, extra: int, wait: tuple[int, ...], notify: tuple[str, ...], bindings: Bindings
    ) -> list[tuple[str, Command]]:
        """What a switch would do on the way, done at the first destination: gather, reduce, pass the sum on.

        The last command has the event of the op. Memory for what is gathered is taken and given back around it; the
        emulated switch has it, so that no tier of the plan counts it.
        """
        target = op.destinations[0]
        here = target.buffer.device
        made: list[tuple[str, Command]] = []
        inputs: list[Operand] = []
        held: list[str] = []
        arrived: list[int] = []
        for place, view in enumerate(op.sources):
            there = view.buffer.device
            if there == here:
                inputs.append(operand(view, bindings))
                continue
            shape = tuple(bind_size(extent, bindings) for extent in view.shape)
            name = f"{target.buffer.tier}/in_network/{event}.{place}"
            allocated, pushed = extra, extra + 1
            extra += 2
            room = Allocate(allocated, name, target.buffer.tier, view.buffer.dtype, shape, wait, (there,))
            made.append((here, room))
            load = self._fabric.transfer_load(there, view.buffer.tier, here, target.buffer.tier)
            hops = routes_of(self._topology).route(there, here).hops
            push = Push(
                id=pushed,
                source=operand(view, bindings),
                destinations=((here, Operand(name, 0, shape)),),
                wait=(*wait, allocated),
                notify=(here,),
                latency_s=load.latency_s,
                rate_limit_bytes_per_s=load.rate_limit if load.rate_limit < float("inf") else 0.0,
                out_port=hops[0].tail.port,
                in_port=hops[-1].head.port,
                links=tuple(hop.resource for hop in drawn(hops)[0]),
            )
            made.append((there, push))
            inputs.append(push.destinations[0][1])
            held.append(name)
            arrived.append(pushed)
        rest = op.destinations[1:]
        added = extra if rest else event
        extra += bool(rest)
        # Flat, as the table has it: operands of one shape.
        attributes = complete_attributes(operation("reduce"), {"kind": op.reduction})
        total = Operand(buffer_key(target.buffer), bind_size(target.offset_bytes, bindings), inputs[0].shape)
        waits = (*wait, *arrived)
        made.append(
            (
                here,
                LaunchKernel(added, "reduce", tuple(inputs), (total,), attributes, "", waits, () if rest else notify),
            )
        )
        if rest:
            passed = Transfer((target,), rest, label=op.label)
            made.append((here, self._push(passed, event, (added,), notify, bindings)))
        for name in held:
            made.append((here, Release(extra, name, (added,), ())))
            extra += 1
        return made

    def _push(
        self, op: Transfer, event: int, wait: tuple[int, ...], notify: tuple[str, ...], bindings: Bindings
    ) -> Push:
        source, target = op.sources[0].buffer, op.destinations[0].buffer
        load = self._fabric.transfer_load(
            source.device, source.tier, target.device, target.tier, pageable=op.path == "pageable"
        )
        limits = [limit for limit in (load.rate_limit, op.rate_limit_bytes_per_s) if 0 < limit < float("inf")]
        hops = routes_of(self._topology).route(source.device, target.device).hops
        return Push(
            id=event,
            source=operand(op.sources[0], bindings),
            destinations=tuple((view.buffer.device, operand(view, bindings)) for view in op.destinations),
            queue=op.queue,
            wait=wait,
            notify=notify,
            latency_s=load.latency_s,
            rate_limit_bytes_per_s=min(limits, default=0.0),
            out_port=hops[0].tail.port if hops else "",
            in_port=hops[-1].head.port if hops else "",
            links=tuple(hop.resource for hop in drawn(hops)[0]),
        )


def connections_of(op: Transfer) -> tuple[tuple[str, str, str], ...]:
    """(source device, destination device, channel) of each message of a transfer."""
    source = op.sources[0].buffer.device
    return tuple((source, view.buffer.device, op.connection) for view in op.destinations)


def extra_events(op: Op) -> int:
    """How many events an op has beside its own: three for each source that is not where the sum is made."""
    if not isinstance(op, Transfer) or len(op.sources) == 1:
        return 0
    away = sum(view.buffer.device != op.destinations[0].buffer.device for view in op.sources)
    return 3 * away + (len(op.destinations) > 1)


def event_owners(plan: Plan) -> tuple[int, ...]:
    """The op behind every event of a plan, in the order of the events."""
    return _owners.of(plan, _find_owners)


def _find_owners(plan: Plan) -> tuple[int, ...]:
    extras = (index for index, op in enumerate(plan.ops) for _ in range(extra_events(op)))
    return (*range(len(plan.ops)), *extras)


def _runs_on(op: Op) -> tuple[str, ...]:
    """Every device that carries out a part of an op and so must know what it waits for."""
    if isinstance(op, Transfer) and len(op.sources) > 1:
        return tuple(dict.fromkeys((_place(op), *(view.buffer.device for view in op.sources))))
    return (_place(op),)


def _place(op: Op) -> str:
    if isinstance(op, Kernel):
        return op.device
    if isinstance(op, Transfer):
        if len(op.sources) > 1:
            return op.destinations[0].buffer.device
        return op.sources[0].buffer.device
    return op.buffer.device

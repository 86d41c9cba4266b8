"""A plan as commands for nodes: who runs what, what each command waits for, and whom it tells.

Every op becomes one command of one node: kernels where they run, transfers at their source, allocations and frees where
the buffer lies. A command waits for the
events of the ops before it; where an op before it runs on another node, that node is told to notify this one, so that
one batch per node carries a whole plan without the controller in between.
"""

from __future__ import annotations

from controller.fabric.resources import Fabric
from controller.plan.bound import bind_attributes
from controller.plan.ops import Alloc, Buffer, Kernel, Op, Plan, Transfer, View
from controller.plan.size import Bindings, bind_size
from controller.topology.graph import routes_of
from controller.topology.schema import Topology
from node.client import Allocate, Command, Free, Launch, Operand, Push
from node.hardware.operations import complete_attributes, operation

Commands = dict[str, list[Command]]


def operand(view: View, bindings: Bindings) -> Operand:
    """A view as nodes address it."""
    shape = tuple(bind_size(extent, bindings) for extent in view.shape)
    return Operand(buffer_key(view.buffer), bind_size(view.offset_bytes, bindings), shape)


def buffer_key(buffer: Buffer) -> str:
    """Name of a buffer on its node: tier and name, since names are unique within a tier only."""
    return f"{buffer.tier}/{buffer.name}"


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
        where, notify = self._places(plan)
        result: Commands = {}
        for index, op in enumerate(plan.ops):
            event = first_event + index
            wait = tuple(first_event + earlier for earlier in plan.after[index])
            if isinstance(op, Kernel):
                attributes = complete_attributes(operation(op.op), bind_attributes(op.attributes, bindings))
                command: Command = Launch(
                    event,
                    op.op,
                    tuple(operand(view, bindings) for view in op.inputs),
                    tuple(operand(view, bindings) for view in op.outputs),
                    attributes,
                    op.queue,
                    wait,
                    notify[index],
                )
            elif isinstance(op, Transfer):
                command = self._push(op, event, wait, notify[index], bindings)
            elif isinstance(op, Alloc):
                made = op.buffer
                command = Allocate(event, buffer_key(made), made.tier, made.dtype, made.shape, wait, notify[index])
            else:
                command = Free(event, buffer_key(op.buffer), wait, notify[index])
            result.setdefault(where[index], []).append(command)
        return result

    def _places(self, plan: Plan) -> tuple[list[str], list[tuple[str, ...]]]:
        kept: tuple[list[str], list[tuple[str, ...]]] | None = plan.cache.get("places")
        if kept is not None:
            return kept
        where = [_place(op) for op in plan.ops]
        told: list[dict[str, None]] = [{} for _ in plan.ops]
        for index, after in enumerate(plan.after):
            for earlier in after:
                if where[earlier] != where[index]:
                    told[earlier][where[index]] = None
        places = where, [tuple(devices) for devices in told]
        plan.cache["places"] = places
        return places

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
            links=tuple(f"{hop.link.name}{'>' if hop.forward else '<'}" for hop in hops),
        )


def _place(op: Op) -> str:
    if isinstance(op, Kernel):
        return op.device
    if isinstance(op, Transfer):
        return op.sources[0].buffer.device
    return op.buffer.device

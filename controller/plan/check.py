"""Is a plan executable at all: its graph, its names, its shapes and the order of its accesses.

Everything here is decided without running and without trusting the builder that derived the edges: ancestors are
computed anew from `Plan.after`.
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.errors import BadPlan, DoubleFree, PlanCycle, UnknownDevice, UnorderedAccess
from controller.plan.author import where
from controller.plan.bound import bind_kernel
from controller.plan.extents import accesses, check_forms, check_sizes, describe
from controller.plan.hazards import byte_range
from controller.plan.ops import Buffer, Free, Kernel, Op, Origin, Plan, Transfer, two_of_one_name
from controller.plan.size import Bindings
from controller.topology.load_store import reaches
from controller.topology.meeting import meeting_of, order_of
from controller.topology.schema import Topology

__all__ = ["accesses", "check_plan", "check_submission", "describe"]


def check_plan(plan: Plan, topology: Topology, bindings: Bindings | None = None) -> None:
    """Checks everything that can be checked without running, and takes nothing on trust.

    Args:
        plan: what to check.
        topology: where it would run.
        bindings: numbers for the open sizes, needed when the plan has any.

    Raises:
        PlanCycle, UnknownDevice, UnorderedAccess, DoubleFree, TransferMismatch, UnboundParameter, OutsideBuffer: as
            named.
        BadPlan: an op that waits for one which is listed after it, a transfer that cannot be, two buffers of one
            name.
        UserInput: from the operation table, for shapes, types and attributes.
    """
    bound: Bindings = bindings or {}
    check_forms(plan)
    ancestors = _ancestors(plan)
    _check_names(plan, topology)
    _check_order(plan, ancestors)
    _check_signatures(plan, bound)
    check_sizes(plan, bound)


def check_submission(plan: Plan, topology: Topology, bindings: Bindings) -> None:
    """What is checked before a plan is executed for the first time.

    The edges of a plan that `PlanBuilder` made are right by construction, and executors look up every kernel in the
    operation table anyway; both take most of the time of `check_plan`, which is for plans of any other origin.

    Raises:
        As `check_plan`.
    """
    if plan.origin is not Origin.BUILDER or any(isinstance(op, Free) for op in plan.ops):
        check_plan(plan, topology, bindings)
        return
    check_forms(plan)
    _check_names(plan, topology)
    check_sizes(plan, bindings)


def _ancestors(plan: Plan) -> list[int]:
    """For each op the set of ops before it, as bits of an integer."""
    count = len(plan.ops)
    waiting = [0] * count
    followers: list[list[int]] = [[] for _ in range(count)]
    for index, after in enumerate(plan.after):
        for earlier in after:
            if not 0 <= earlier < count:
                raise PlanCycle(f"plan {plan.name!r}: op {index} waits for op {earlier}, which does not exist")
            followers[earlier].append(index)
        waiting[index] = len(after)
    ready = [index for index in range(count) if waiting[index] == 0]
    before = [0] * count
    done = 0
    while ready:
        index = ready.pop()
        done += 1
        for later in followers[index]:
            before[later] |= before[index] | (1 << index)
            waiting[later] -= 1
            if waiting[later] == 0:
                ready.append(later)
    if done < count:
        stuck = [index for index in range(count) if waiting[index] > 0]
        names = ", ".join(f"{index} ({describe(plan.ops[index])})" for index in stuck[:6])
        raise PlanCycle(f"plan {plan.name!r}: these ops wait for each other: {names}; break the cycle in `after`")
    for index, after in enumerate(plan.after):
        late = max(after, default=-1)
        if late > index:
            raise BadPlan(
                f"plan {plan.name!r}: op {index} ({describe(plan.ops[index])}) waits for op {late}, which is listed "
                f"after it; list ops in an order in which they could run one by one"
            )
    return before


def _check_names(plan: Plan, topology: Topology) -> None:
    seen: dict[Buffer, None] = {}
    # One name is one tensor: buffers are equal when type and shape are, but hash and live by their names.
    named: dict[tuple[str, str, str], Buffer] = {}
    meetings: dict[object, object] = {}
    for index, op in enumerate(plan.ops):
        for buffer in _buffers(op):
            if buffer in seen:
                continue
            seen[buffer] = None
            other = named.setdefault((buffer.device, buffer.tier, buffer.name), buffer)
            if other != buffer:
                raise BadPlan(f"{where(plan, index)}: {two_of_one_name(buffer, other)}")
            _known(topology, buffer.device, plan, index)
            if buffer.tier not in topology.devices[buffer.device].spec.tiers:
                tiers = ", ".join(topology.devices[buffer.device].spec.tiers)
                raise UnknownDevice(
                    f"{where(plan, index)}: {buffer.device} has no tier {buffer.tier!r}; it has {tiers}"
                )
        if isinstance(op, Kernel):
            _known(topology, op.device, plan, index)
            spec = topology.devices[op.device].spec
            if op.queue and op.queue not in spec.queues:
                raise UnknownDevice(
                    f"{where(plan, index)}: {op.device} has no queue {op.queue!r}; it has {', '.join(spec.queues)}"
                )
            if not op.queue and spec.compute_queue is None:
                raise UnknownDevice(f"{where(plan, index)}: {op.device} ({spec.product}) cannot compute")
            for view in (*op.inputs, *op.outputs):
                if view.buffer.device != op.device and not reaches(topology, op.device, view.buffer.device):
                    raise UnknownDevice(
                        f"{where(plan, index)}: kernel {op.op} on {op.device} cannot reach {view.buffer}; "
                        f"transfer it first"
                    )
        if isinstance(op, Transfer) and len(op.sources) > 1:
            _check_meeting(op, topology, plan, index, meetings)
        if isinstance(op, Transfer) and op.queue and op.connection:
            raise BadPlan(
                f"{where(plan, index)}: a transfer on the queue {op.queue!r} and on the connection "
                f"{op.connection!r}; either gives it its order, so remove one"
            )
        if isinstance(op, Transfer) and op.queue:
            spec = topology.devices[op.sources[0].buffer.device].spec
            if op.queue not in spec.queues:
                raise UnknownDevice(
                    f"{where(plan, index)}: {op.sources[0].buffer.device} has no queue {op.queue!r}; "
                    f"it has {', '.join(spec.queues)}"
                )


def _check_meeting(op: Transfer, topology: Topology, plan: Plan, index: int, meetings: dict[object, object]) -> None:
    """What has several sources must be added up by a switch on the way; `meetings` were found before."""
    sources = [view.buffer.device for view in op.sources]
    receivers = [view.buffer.device for view in op.destinations]
    order = order_of(sources, receivers)
    # Who belongs together does not change from chunk to chunk.
    key = (tuple(order), len(sources), len(receivers), op.sources[0].buffer.dtype)
    if key not in meetings:
        meetings[key] = meeting_of(topology, order, op.sources[0].buffer.dtype, len(sources), len(receivers))
    if isinstance(meetings[key], str):
        raise BadPlan(
            f"{where(plan, index)} ({describe(op)}): a transfer of {len(sources)} sources needs reduction in "
            f"the network: {meetings[key]}; declare a switch that does it (reduction: true, types:, rate:), or reduce "
            f"with a kernel"
        )


def _known(topology: Topology, device: str, plan: Plan, index: int) -> None:
    if device not in topology.devices:
        raise UnknownDevice(
            f"{where(plan, index)}: topology {topology.name!r} has no device {device!r}; "
            f"it has {', '.join(topology.devices)}"
        )


def _buffers(op: Op) -> list[Buffer]:
    if isinstance(op, Kernel):
        return [view.buffer for view in (*op.inputs, *op.outputs)]
    if isinstance(op, Transfer):
        return [view.buffer for view in (*op.sources, *op.destinations)]
    return [op.buffer]


def _check_order(plan: Plan, before: list[int]) -> None:
    history: dict[Buffer, list[tuple[int, int, int, bool]]] = {}
    freed: dict[Buffer, int] = {}
    for index, op in enumerate(plan.ops):
        reads, writes = accesses(op)
        for view, is_write in [(view, False) for view in reads] + [(view, True) for view in writes]:
            if view.buffer in freed:
                if isinstance(op, Kernel | Transfer | Free):
                    raise DoubleFree(
                        f"{where(plan, index)} ({describe(op)}): {view.buffer} was freed by op {freed[view.buffer]}"
                    )
                # A new life of the buffer, which must not begin before the end of the old one.
                history[view.buffer] = [(freed.pop(view.buffer), 0, view.buffer.nbytes, True)]
            start, stop = byte_range(view)
            past = history.setdefault(view.buffer, [])
            for other, other_start, other_stop, other_write in past:
                if other == index or not (is_write or other_write) or other_stop <= start or other_start >= stop:
                    continue
                if not (before[index] >> other & 1 or before[other] >> index & 1):
                    raise UnorderedAccess(
                        f"plan {plan.name!r}: op {other} ({describe(plan.ops[other])}) and op {index} ({describe(op)}) "
                        f"touch {view.buffer} without an order; add an edge"
                    )
            if is_write:
                past[:] = [entry for entry in past if entry[1] < start or entry[2] > stop]
            past.append((index, start, stop, is_write))
        if isinstance(op, Free):
            freed[op.buffer] = index


def _check_signatures(plan: Plan, bindings: Mapping[str, int]) -> None:
    checked: dict[object, None] = {}
    for op in plan.ops:
        if isinstance(op, Kernel):
            bound = bind_kernel(op, bindings)
            if bound.form not in checked:
                bound.check()
                checked[bound.form] = None

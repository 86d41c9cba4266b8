"""The checks of a plan that depend on numbers: sizes of transfers, and that every view stays inside its buffer.

A plan with open sizes is checked whole when it is submitted first, and at every binding again where a size is open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from controller.errors import BadPlan, OutsideBuffer, TransferMismatch
from controller.plan.author import where
from controller.plan.bound import has_open_size, view_bytes
from controller.plan.memo import PlanMemo
from controller.plan.ops import Alloc, Buffer, Free, Kernel, Op, Plan, Transfer, View
from controller.plan.size import Affine, Bindings, bind_size
from node.hardware.operation import ITEM_BYTES

PATHS = ("", "pageable", "absorbed")
REDUCTIONS = ("", "sum", "max", "min")

_Open = tuple[list[tuple[int, View]], list[tuple[int, Transfer]]]
_open: PlanMemo[_Open] = PlanMemo()


def describe(op: Op) -> str:
    """One short phrase that names an op in errors and listings."""
    if isinstance(op, Kernel):
        return f"{op.label or op.op} on {op.device}"
    if isinstance(op, Transfer):
        ends = [str(views[0].buffer) if views else "nothing" for views in (op.sources, op.destinations)]
        return f"{op.label or 'transfer'} {ends[0]} -> {ends[1]}"
    return f"{'free' if isinstance(op, Free) else 'alloc'} {op.buffer}"


def accesses(op: Op) -> tuple[tuple[View, ...], tuple[View, ...]]:
    """The views that an op reads and the views that it writes."""
    if isinstance(op, Kernel):
        return op.inputs, op.outputs
    if isinstance(op, Transfer):
        return op.sources, op.destinations
    return (), (op.buffer.view(),)


def touched_buffers(plan: Plan) -> tuple[Buffer, ...]:
    """Every buffer that a plan reads or writes, each once, in the order of its ops."""
    return tuple(dict.fromkeys(view.buffer for op in plan.ops for side in accesses(op) for view in side))


def check_forms(plan: Plan) -> None:
    """Checks what an op says apart from names and sizes.

    Raises:
        BadPlan: ops without entries of `after`, or a transfer without source or destination, with several sources, or
            with an unknown path, reduction or rate limit.
    """
    if len(plan.after) != len(plan.ops):
        raise BadPlan(
            f"plan {plan.name!r} has {len(plan.ops)} ops and {len(plan.after)} entries of `after`; give each one"
        )
    for index, op in enumerate(plan.ops):
        if isinstance(op, Transfer):
            complaint = _transfer_complaint(op)
            if complaint:
                raise BadPlan(f"{where(plan, index)} ({describe(op)}): {complaint}")


def _transfer_complaint(op: Transfer) -> str:
    if not op.sources or not op.destinations:
        return "a transfer needs a source and at least one destination"
    if len(op.sources) > 1:
        if not op.reduction:
            return f"a transfer of {len(op.sources)} sources adds them up on the way; say how: reduction='sum'"
        if len({view.buffer.dtype for view in (*op.sources, *op.destinations)}) > 1:
            return "what is added up on the way has one element type at all sources and destinations"
        for views, side in ((op.sources, "source"), (op.destinations, "destination")):
            devices = [view.buffer.device for view in views]
            twice = next((name for index, name in enumerate(devices) if name in devices[:index]), "")
            if twice:
                return f"{twice} is a {side} twice; what is added up on the way comes from each device once"
    if op.path not in PATHS:
        return f"path {op.path!r} is none of {', '.join(map(repr, PATHS))}"
    if op.reduction not in REDUCTIONS:
        return f"reduction {op.reduction!r} is none of {', '.join(map(repr, REDUCTIONS))}"
    limit: object = op.rate_limit_bytes_per_s
    # A comparison with nan is false, so that it is refused too.
    if isinstance(limit, bool) or not (isinstance(limit, int | float) and 0 <= limit < math.inf):
        return f"rate limit {limit!r} B/s is no finite number of 0 or more; 0 means none"
    return ""


def check_sizes(plan: Plan, bindings: Bindings) -> None:
    """Checks every view and every transfer with numbers.

    Raises:
        BadPlan, OutsideBuffer, TransferMismatch, UnboundParameter: as `check_plan`.
    """
    _check_bindings(plan, bindings)
    for index, op in enumerate(plan.ops):
        if isinstance(op, Transfer):
            _check_transfer(plan, index, op, bindings)
        reads, writes = accesses(op)
        for view in (*reads, *writes):
            if view.shape is not view.buffer.shape or view.offset_bytes:
                _check_bounds(plan, index, view, bindings)


def check_binding(plan: Plan, bindings: Bindings) -> None:
    """Checks what the numbers decide of a plan that was checked with others: its open views, each kind once.

    Raises:
        BadPlan, OutsideBuffer, TransferMismatch, UnboundParameter: as `check_plan`.
    """
    _check_bindings(plan, bindings)
    found = _open.of(plan, _open_parts)
    for index, op in found[1]:
        _check_transfer(plan, index, op, bindings)
    for index, view in found[0]:
        _check_bounds(plan, index, view, bindings)


def _open_parts(plan: Plan) -> _Open:
    views: dict[object, tuple[int, View]] = {}
    transfers: dict[object, tuple[int, Transfer]] = {}
    for index, op in enumerate(plan.ops):
        if isinstance(op, Alloc | Free):
            continue
        reads, writes = accesses(op)
        both = (*reads, *writes)
        for view in both:
            if isinstance(view.offset_bytes, Affine) or has_open_size(view):
                views.setdefault((view.offset_bytes, view.shape, view.buffer.dtype, view.buffer.nbytes), (index, view))
        if isinstance(op, Transfer) and any(map(has_open_size, both)):
            transfers.setdefault(tuple((view.shape, view.buffer.dtype) for view in both), (index, op))
    return list(views.values()), list(transfers.values())


def _check_bindings(plan: Plan, bindings: Bindings) -> None:
    given: Mapping[str, object] = bindings
    for name, value in given.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise BadPlan(f"plan {plan.name!r}: open size {name!r} is bound to {value!r}; bind a whole number (int)")


def _check_transfer(plan: Plan, index: int, op: Transfer, bindings: Bindings) -> None:
    size = view_bytes(op.sources[0], bindings)
    for view in op.sources[1:]:
        if view_bytes(view, bindings) != size:
            raise TransferMismatch(
                f"{where(plan, index)} ({describe(op)}): its sources have {size} and "
                f"{view_bytes(view, bindings)} bytes; what is added up must be of one size"
            )
    if len(op.sources) > 1:
        _check_apart(plan, index, op, size, bindings)
    for view in op.destinations:
        if view_bytes(view, bindings) != size:
            raise TransferMismatch(
                f"{where(plan, index)} ({describe(op)}): {size} bytes leave and "
                f"{view_bytes(view, bindings)} arrive; both views must be of one size"
            )


def _check_apart(plan: Plan, index: int, op: Transfer, size: int, bindings: Bindings) -> None:
    """A sum may be written over one of its operands, but not over a part of one that is still read."""
    for target in op.destinations:
        for view in op.sources:
            if view.buffer == target.buffer:
                apart = abs(bind_size(view.offset_bytes, bindings) - bind_size(target.offset_bytes, bindings))
                if 0 < apart < size:
                    raise BadPlan(
                        f"{where(plan, index)} ({describe(op)}): its destination covers a part of its source "
                        f"in {view.buffer}; write the sum over all of a source, or elsewhere"
                    )


def _check_bounds(plan: Plan, index: int, view: View, bindings: Bindings) -> None:
    start, item = bind_size(view.offset_bytes, bindings), ITEM_BYTES[view.buffer.dtype]
    size, least = item, 0
    for extent in view.shape:
        number = bind_size(extent, bindings)
        size *= number
        least = min(least, number)
    whole = type(size) is int and type(start) is int
    if not whole or least < 0 or start < 0 or start + size > view.buffer.nbytes or start % item:
        raise OutsideBuffer(
            f"{where(plan, index)} ({describe(plan.ops[index])}): bytes {start} to {start + size} are not "
            f"whole elements of {view.buffer}, which has {view.buffer.nbytes} bytes of {view.buffer.dtype}"
        )

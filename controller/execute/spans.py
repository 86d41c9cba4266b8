"""From activity times to the spans of a trace: one on the queue of an op, one on every link and tier that it loads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from controller.execute.template import Bound, Template
from controller.execute.trace import Span, Trace
from controller.plan.ops import Kernel, Transfer

FloatArray = npt.NDArray[np.float64]


def record_spans(
    trace: Trace,
    template: Template,
    bound: Bound,
    start_at: FloatArray,
    end_at: FloatArray,
    ran: npt.NDArray[np.bool_],
) -> None:
    """Adds the spans of one execution of a template, in the order of its ops, and arrows from what each waited for.

    Only ops that `ran` have spans. The arrow comes from the last of its dependencies, or of those ahead in its queue,
    that ended before it started.
    """
    if trace.strips is not None:
        trace.strips.add(template, bound, start_at, end_at)
    if len(trace.spans) >= trace.limit:
        trace.dropped += len(start_at)
        return
    fabric = template.fabric
    activities = template.activities
    names = template.row_names()
    span_of: dict[int, int] = {}
    for row in np.flatnonzero(ran).tolist():
        span_of[row] = len(trace.spans)
        start, end = float(start_at[row]), float(end_at[row])
        label = names[row]
        detail: dict[str, str | int | float] = {"plan": template.plan.name}
        index = int(template.op_of[row])
        if index >= 0:
            op = template.plan.ops[index]
            if isinstance(op, Kernel):
                detail["op"] = op.op
                detail["bytes"] = float(bound.work[row])
            elif isinstance(op, Transfer):
                detail["from"], detail["to"] = str(op.sources[0].buffer), str(op.destinations[0].buffer)
                detail["bytes"] = float(bound.work[row])
        queue = int(activities.queue[row])
        if fabric.is_declared(queue):
            device, track = fabric.queue_names[queue].split(".", 1)
            trace.add(Span(device, track, label, start, end, detail))
        if end <= start:
            continue
        for slot in range(activities.load_start[row], activities.load_start[row + 1]):
            if bound.load_weight[slot] > 0:
                resource = fabric.resources[int(activities.load_resource[slot])]
                trace.add(Span(resource.owner or "fabric", resource.track, label, start, end, detail))
    _add_arrows(trace, template, span_of, start_at.tolist(), end_at.tolist())


def _add_arrows(
    trace: Trace, template: Template, span_of: dict[int, int], starts: list[float], ends: list[float]
) -> None:
    for row, span in span_of.items():
        before, latest = -1, float("-inf")
        for other in template.rows_ahead[row]:
            if other in span_of and latest < ends[other] <= starts[row] * (1 + 1e-9):
                before, latest = other, ends[other]
        if before >= 0 and span < len(trace.spans) and span_of[before] < len(trace.spans):
            trace.arrows.append((span_of[before], span))

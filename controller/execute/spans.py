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
    """Adds the spans of one execution of a template, in the order of its ops; only of those that `ran`."""
    if len(trace.spans) >= trace.limit:
        trace.dropped += len(start_at)
        return
    fabric = template.fabric
    activities = template.activities
    names = template.row_names()
    for row in np.flatnonzero(ran).tolist():
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
        if queue >= 0:
            device, track = fabric.queue_names[queue].split(".", 1)
            trace.add(Span(device, track, label, start, end, detail))
        if end <= start:
            continue
        for slot in range(activities.load_start[row], activities.load_start[row + 1]):
            if bound.load_weight[slot] > 0:
                resource = fabric.resources[int(activities.load_resource[slot])]
                track = resource.name.removeprefix(f"{resource.owner}.") if resource.owner else resource.name
                trace.add(Span(resource.owner or "fabric", track, label, start, end, detail))

"""Iterations as nano-batches whose kernels share the devices: NanoFlow's form of an iteration.

The batch is cut in two. While one half computes attention, which is bound by memory, the other one computes its
projections and its feed-forward, which are bound by arithmetic; sums over the ranks of either run beside both. The
compute queue of the devices takes two kernels at once, which share compute unit and memory as the engine shares them.

Paper: Zhu et al., 'NanoFlow', arXiv 2408.12757, sections 3 and 4.
Differs: two nano-batches of equal size, and shares that follow from what the kernels ask for, where the paper searches
    sizes and shares of multiprocessors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller.execute.virtual import VirtualRun
from controller.models.sharded import Sharded
from controller.offload.scratch import Scratch
from controller.plan.ops import View
from controller.plan.script import Script, Value
from controller.serving.device_times.attention_of_rank import attention_of_rank
from controller.serving.device_times.parts import IterationParts
from controller.serving.iteration_times import IterationLoad
from controller.topology.schema import Topology

LAYERS = (2, 4)
"""Layers of the two plans whose difference counts for every further one."""


@dataclass(frozen=True, slots=True)
class FormTimes:
    """One iteration in one form.

    Attributes:
        time_s: of all layers [s].
        label_s: of all layers by label, on the first rank, side by side or not [s].
    """

    time_s: float
    label_s: dict[str, float]


def halves(load: IterationLoad) -> tuple[IterationLoad, IterationLoad]:
    """Two nano-batches of about as many tokens: decodes are halved, chunks go one here and one there."""
    first = IterationLoad(load.rows // 2, load.context_tokens // 2, load.chunks[::2])
    rest = load.rows - load.rows // 2
    return first, IterationLoad(rest, load.context_tokens - load.context_tokens // 2, load.chunks[1::2])


def form_times(topology: Topology, parts: IterationParts, loads: Sequence[IterationLoad]) -> FormTimes:
    """Time of an iteration of one batch, or of two nano-batches side by side."""
    found = [_executed(topology, parts, loads, layers) for layers in LAYERS]
    scale = (parts.shape.layers - LAYERS[0]) / (LAYERS[1] - LAYERS[0])
    labels = {
        label: found[0].label_s.get(label, 0.0) + (value - found[0].label_s.get(label, 0.0)) * scale
        for label, value in found[1].label_s.items()
    }
    return FormTimes(found[0].time_s + (found[1].time_s - found[0].time_s) * scale, labels)


def _executed(topology: Topology, parts: IterationParts, loads: Sequence[IterationLoad], layers: int) -> FormTimes:
    scratch = Scratch("nano")
    s = Script("nano-batches", scratch)
    tokens = sum(load.tokens for load in loads)
    model = Sharded(parts.sharding, parts.software(tokens // len(loads)))
    streams: list[Sequence[Value]] = []
    at = 0
    for lane, load in enumerate(loads):
        s.microbatch = lane
        streams.append(model.embed(s, [View(ids, 8 * at, (load.tokens,)) for ids in parts.ids], 0))
        at += load.tokens
    waiting: tuple[int, Sequence[Value]] | None = None
    for layer in range(layers):
        for lane, load in enumerate(loads):
            s.microbatch = lane
            attended = _attended(s, model, parts, layer, streams[lane], load)
            if len(loads) == 1:
                streams[0] = model.finish(s, layer, streams[0], attended)
                continue
            # The half before finishes its layer while this one attends.
            if waiting is not None:
                before, its = waiting
                s.microbatch = before
                of_layer = layer if before < lane else layer - 1
                streams[before] = model.finish(s, of_layer, streams[before], its)
            waiting = lane, attended
    if waiting is not None:
        s.microbatch = waiting[0]
        streams[waiting[0]] = model.finish(s, layers - 1, streams[waiting[0]], waiting[1])
    for stream in streams:
        for value in stream:
            s.drop(value)
    run = VirtualRun(topology)
    plan = s.plan()
    parts.place(run)
    scratch.place(run)
    (done,) = run.advance([run.submit(plan).number])
    labels = {use.label: use.time_s / len(parts.devices) for use in run.ledger.op_times()}
    return FormTimes(done.end_at - done.submitted_at, labels)


def _attended(
    s: Script, model: Sharded, parts: IterationParts, layer: int, x: Sequence[Value], load: IterationLoad
) -> list[Value]:
    queries, keys = model.queries(s, layer, x, 0), model.keys(s, layer, 0)
    found = []
    for rank, (query, pair) in enumerate(zip(queries, keys, strict=True)):
        parts.keep(s, rank, pair, load.tokens)
        found.append(attention_of_rank(s, parts, rank, layer, query, load))
    return found


def side_by_side(topology: Topology, kernels: int) -> Topology:
    """The topology with devices that run `kernels` kernels at once."""
    devices = {}
    for name, device in topology.devices.items():
        queues = {
            key: replace(queue, slots=kernels) if queue.kind == "compute" else queue
            for key, queue in device.spec.queues.items()
        }
        devices[name] = replace(device, spec=replace(device.spec, queues=queues))
    return replace(topology, devices=devices)


def overlap_ratio(topology: Topology, parts: IterationParts, load: IterationLoad) -> float:
    """Time of two nano-batches side by side over that of one batch."""
    both = [half for half in halves(load) if half.tokens]
    if len(both) < 2:
        return 1.0
    one = form_times(topology, parts, [load]).time_s
    return form_times(side_by_side(topology, 2), parts, both).time_s / one

"""A decode step of CloudMatrix-Infer on one die: micro-batches on two streams, a draft layer, the head."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from controller.models.expert_shape import ExpertShape
from controller.models.shape import ModelShape
from controller.offload.die_group import die_group
from controller.offload.die_layers import DTYPE, MESSAGE_BYTES, DieLayers, DieRules, rows_of
from controller.offload.expert_spread import busiest_rows
from controller.offload.scratch import Scratch
from controller.plan.ops import Plan
from controller.plan.ranges import even_ranges
from controller.plan.script import Script, Value
from controller.topology.schema import Topology
from node.hardware.cost import kernel_cost
from node.hardware.device import DeviceSpec
from node.hardware.operation import TensorType
from node.hardware.operations import operation

DISPATCH_S, COMBINE_S = 70.32e-6, 35.01e-6
"""What CANN's operators take beside moving bytes and telling peers: each read off its EP 8 row of table 7, arXiv
2506.12708; a calibration row of `reproduce cloudmatrix384`. Putting the rows of its 128 tokens into order, and summing
them, are kernels in these plans and taken off [s]."""
ROW_TOKENS, ROW_COPIES = 128, 8
"""Of that row."""


@dataclass(frozen=True, slots=True)
class DecodeSetting:
    """One decode instance.

    Attributes:
        dies: of the instance; experts are spread over all.
        sequences: of each die.
        context: cached tokens of each.
        drafts: tokens that the draft layer adds to a step.
        microbatches: that share a die; two overlap attention with experts.
        shared_copies, redundant: dies that hold the shared expert, and second copies of experts.
    """

    dies: int = 320
    sequences: int = 48
    context: int = 4096
    drafts: int = 1
    microbatches: int = 2
    shared_copies: int = 32
    redundant: int = 32


def decode_plan(
    topology: Topology, shape: ModelShape, setting: DecodeSetting, mixtures: int | None = None, *, ends: bool = False
) -> tuple[Plan, DieLayers, Scratch]:
    """The step, what the die holds, and its scratch.

    Args:
        topology: of the dies.
        shape: of a model with experts and latent attention.
        setting: of the instance.
        mixtures: number of layers with experts, with the head alone; None for the whole model and the draft layer.
        ends: those layers with all that is in a whole step once: dense layers, draft layer, heads.
    """
    experts = shape.experts
    assert experts is not None
    split = setting.microbatches > 1
    queues = ("attention", "experts") if split else ("fused", "fused")
    group = die_group(topology, setting.dies)
    spec = topology.devices[group.place.device].spec
    start_s = spec.compute_queue.launch_s if spec.compute_queue is not None else 0.0
    copies = experts.chosen + 1  # the shared expert is a die's, too
    slots = max(1, ceil((experts.count + setting.shared_copies + setting.redundant) / setting.dies))
    parts = even_ranges(setting.sequences, min(setting.microbatches, setting.sequences))
    busiest = _busiest(experts, setting, parts[0][1] * (1 + setting.drafts))
    rules = DieRules(start_s, *fixed_s(spec, shape), busiest / copies, *queues)
    die, scratch = DieLayers(shape, group, rules, slots), Scratch("step")
    s = Script("decode step", scratch)
    room = setting.context + 1 + setting.drafts
    streams = []
    for s.microbatch, (begin, stop) in enumerate(parts):
        tokens = (stop - begin) * (1 + setting.drafts)
        streams.append(die.entering(s, tokens))
    whole = mixtures is None or ends
    first = 0 if whole else experts.first_dense
    last = shape.layers if mixtures is None else experts.first_dense + mixtures
    names: list[int | str] = [*range(first, last)]
    if setting.drafts and whole:
        names.append("draft")
    for layer in names:
        if layer == "draft":
            _heads(s, die, streams, "sampled")
        for s.microbatch, (begin, stop) in enumerate(parts):
            x = die.decode(s, f"layers.{layer}", streams[s.microbatch], stop - begin, setting.context, room)
            is_dense = isinstance(layer, int) and not experts.of_layer(layer)
            streams[s.microbatch] = (
                die.dense(s, f"layers.{layer}", x) if is_dense else die.mixture(s, f"layers.{layer}", x, copies)
            )
    _heads(s, die, streams, "drafted")
    return s.plan(), die, scratch


def assembling_s(spec: DeviceSpec, tokens: int, copies: int, hidden: int) -> tuple[float, float]:
    """What putting arrived messages into order takes, and summing what came back: kernels of their own here [s]."""
    messages = TensorType((tokens * copies, MESSAGE_BYTES), "int8")
    rows, made = TensorType((tokens * copies, hidden), DTYPE), TensorType((tokens, hidden), DTYPE)
    gates = TensorType((tokens * copies,), "int64"), TensorType((tokens, copies), "fp32")
    found = []
    for name, inputs, output in (("copy", (messages,), messages), ("expert_sum", (rows, *gates), made)):
        demand = operation(name).demand(inputs, (output,), {})
        found.append(kernel_cost(spec, demand, ("hbm",) * len(inputs), ("hbm",), "fused").time_s)
    return found[0], found[1]


def fixed_s(spec: DeviceSpec, shape: ModelShape) -> tuple[float, float]:
    """What a dispatch and a combine take whatever they move [s]."""
    ordered_s, summed_s = assembling_s(spec, ROW_TOKENS, ROW_COPIES, shape.hidden)
    return max(0.0, DISPATCH_S - ordered_s), max(0.0, COMBINE_S - summed_s)


def _busiest(experts: ExpertShape, setting: DecodeSetting, tokens: int) -> float:
    """Rows of the busiest die for each token of a die: one with the shared expert, or the expert most chosen."""
    shared = setting.dies / setting.shared_copies
    routed = experts.count + setting.redundant
    most = busiest_rows(setting.dies * tokens, experts.chosen / routed, routed)
    return max(shared, most / tokens, experts.chosen + 1)


def _heads(s: Script, die: DieLayers, streams: list[Value], name: str) -> None:
    """Logits of all micro-batches together: the matrix is read once."""
    s.microbatch, at, x = 0, 0, streams[0]
    if len(streams) > 1:
        counts, width = [rows_of(stream) for stream in streams], die.shape.hidden
        x = s.empty(die.group.place, x.dtype, (sum(counts), width))
        for stream, rows in zip(streams, counts, strict=True):
            s.op("copy", stream, out=x.part(at, (rows, width)), queue=die.rules.attention_queue, label="head")
            at += rows * width
    die.head(s, x, name)

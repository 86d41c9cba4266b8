"""A decode step of CloudMatrix-Infer on one die: micro-batches on two streams, a draft layer, the head."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from controller.models.shape import ModelShape
from controller.offload.die_group import die_group
from controller.offload.die_layers import DieLayers, DieRules
from controller.offload.scratch import Scratch
from controller.plan.ops import Plan
from controller.plan.ranges import even_ranges
from controller.plan.script import Script, Value
from controller.topology.schema import Topology

DISPATCH_S, COMBINE_S = 70.32e-6, 35.01e-6
"""What CANN's operators take beside moving bytes and telling peers: each read off its EP 8 row of table 7, arXiv
2506.12708, which is a calibration row of `reproduce cloudmatrix384` [s]."""


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
    topology: Topology, shape: ModelShape, setting: DecodeSetting, mixtures: int | None = None
) -> tuple[Plan, DieLayers, Scratch]:
    """The step, what the die holds, and its scratch.

    Args:
        topology: of the dies.
        shape: of a model with experts and latent attention.
        setting: of the instance.
        mixtures: so many layers with experts and the head alone; None for the whole model and the draft layer.
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
    busiest = max(
        setting.dies / setting.shared_copies, experts.chosen * setting.dies / (experts.count + setting.redundant)
    )
    rules = DieRules(start_s, DISPATCH_S, COMBINE_S, max(1.0, busiest / copies), *queues)
    die, scratch = DieLayers(shape, group, rules, slots), Scratch("step")
    s = Script("decode step", scratch)
    room = setting.context + 1 + setting.drafts
    streams = []
    parts = even_ranges(setting.sequences, min(setting.microbatches, setting.sequences))
    for s.microbatch, (begin, stop) in enumerate(parts):
        tokens = (stop - begin) * (1 + setting.drafts)
        streams.append(die.entering(s, tokens))
    whole = mixtures is None
    first = 0 if whole else experts.first_dense
    names: list[int | str] = [*range(first, shape.layers if mixtures is None else first + mixtures)]
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


def _heads(s: Script, die: DieLayers, streams: list[Value], name: str) -> None:
    for s.microbatch, x in enumerate(streams):
        die.head(s, x, name)

"""Experts of a mixture distributed over devices, attention on each over its own sequences.

Paper: expert parallelism with data-parallel attention, as DeepSeek-V3 serves (arXiv 2412.19437, section 3.4) and
    CloudMatrix-Infer on NPUs (arXiv 2506.12708, section 4.1).
Follows: three steps a layer: the gate's counts are read by the host, tokens are dispatched to the devices of their
    experts, results combined; redundant copies of experts take turns; messages in 8 bits if asked.
Differs: one batch at a time, nothing overlaps the exchange; fused operators and two micro-batches are
    `cloudmatrix_infer`.
Checked by: tests/live/test_expert_parallel.py (tokens against the plain run, for any placement).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from controller.errors import BadTopology, BadWorkload
from controller.models.expert_shape import ExpertShape
from controller.models.routing import Skew, declared_loads, routing_note
from controller.models.scenario import Scenario
from controller.offload.expert_exchange import ROUNDING
from controller.offload.expert_pass import ExpertGroup, ExpertPass
from controller.offload.expert_placement import placed
from controller.offload.expert_ranks import ExpertRank
from controller.plan.value import Place
from controller.program.options import Choice, Count, Options, Parsed, option
from controller.program.results import GenerationResult
from controller.program.run import Array, GenerationProgram, Run, Wish

Forward = Generator[Wish, Any, None]


def _slots(text: str) -> tuple[int, ...]:
    devices = [device.split(",") for device in text.split("|")]
    if len(devices) < 2 or not all(slot.isascii() and slot.isdigit() for slots in devices for slot in slots):
        raise ValueError(text)
    return tuple(int(slot) for slots in devices for slot in slots)


@dataclass(frozen=True)
class ExpertParallelOptions(Options):
    """What a user may choose."""

    devices: Count | None = option(
        None, "devices of the group", absent="as many as divide the batch and the slots of experts"
    )
    messages: Choice = option("plain", "what tokens are sent in", choices=("plain", "int8"))
    redundant: Count = option(0, "second copies of the first experts, over all devices", least=0)
    placement: Annotated[tuple[int, ...], Parsed(_slots, "experts by slot, as in 0,1|2,3 for two devices")] = option(
        (), "the expert of every slot, device by device; in order unless given"
    )
    expert_skew: Skew = option(0.0, "load of the i-th expert falls as 1/i^skew on the virtual clock; 0 is balanced")


def expert_parallel(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding of a mixture of experts over a group of devices."""
    group = _group(scenario)
    for rank in group.ranks:
        rank.put(run)
    if routing := routing_note(scenario.shape, group.loads):
        run.note(routing)
    prompt, step = ExpertPass(run, group, "prompt", scenario.prompt_tokens), ExpertPass(run, group, "step", 1)
    prompt.place()
    yield from prompt.forward({})
    prompt.release()
    run.mark("prefill")
    step.place()
    tokens: list[tuple[int, ...]] = []
    logits: list[Array] = []
    for index in range(scenario.output_tokens):
        ids, scores = [], []
        for rank in group.ranks:
            ids.append((yield run.fetch(rank.next_ids)))
            scores.append((yield run.fetch(rank.logits)))
        if ids[0] is not None:
            tokens.append(tuple(int(token) for each in ids for token in np.asarray(each).reshape(-1)))
            logits.append(np.concatenate(scores))
            if scenario.batch == 1 and tokens[-1][0] in scenario.stop_ids:
                break
        run.progress(index + 1, scenario.output_tokens, "decode")
        if index + 1 < scenario.output_tokens:
            yield from step.forward(group.ranks[0].cache.bindings(scenario.prompt_tokens + index))
    run.mark("decode")
    count = len(tokens) or scenario.output_tokens
    rounded = {"tokens sent in int8": ROUNDING} if group.in_8_bits else {}
    return GenerationResult(count * scenario.batch, tuple(tokens), tuple(logits), rounded)


def _group(scenario: Scenario) -> ExpertGroup:
    options, shape = ExpertParallelOptions.of(scenario.options), scenario.shape
    places = _places(scenario, options)
    if scenario.batch % len(places):
        raise BadWorkload(
            f"a batch of {scenario.batch} does not divide over {len(places)} devices; write "
            f"--batch {len(places) * -(-scenario.batch // len(places))}, or --devices with a divisor of it"
        )
    experts = shape.experts or ExpertShape(len(places), 1, 1, first_dense=shape.layers)
    placement = placed(experts.count, len(places), options.redundant, options.placement)
    rows = scenario.batch // len(places)
    ranks = tuple(ExpertRank(scenario, placement, rank, place, rows) for rank, place in enumerate(places))
    loads = declared_loads(shape, options.expert_skew)
    return ExpertGroup(scenario, experts, placement, ranks, loads, options.messages == "int8")


def _places(scenario: Scenario, options: ExpertParallelOptions) -> list[Place]:
    """Memory of the devices of the group."""
    found = [
        device.name for device in scenario.topology.devices.values()
        if device.spec.compute_queue is not None and "hbm" in device.spec.tiers
    ]  # fmt: skip
    count = options.devices
    if not found or (count or 1) > len(found):
        raise BadTopology(
            f"topology {scenario.topology.name!r} has {len(found)} devices that compute in HBM, and {count or 1} are "
            f"needed; choose another --topology, or write --devices {len(found)}"
        )
    if count is None:
        experts = scenario.shape.experts
        slots = len(options.placement) or (experts.count + options.redundant if experts else 0)
        count = max(n for n in range(1, len(found) + 1) if scenario.batch % n == slots % n == 0)
    return [Place(name, "hbm") for name in found[:count]]

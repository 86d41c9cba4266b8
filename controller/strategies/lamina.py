"""Lamina: the model on compute devices, KV cache and decode attention on memory devices, batches staggered in rotation.

Paper: "Efficient Heterogeneous Large Language Model Decoding with Model-Attention Disaggregation", arXiv 2405.01814v2.
Follows: section 3.1 (two pools, DOP (a, b)), 4.1 (the network stack's constants), 4.2 (q is sent first; attention over
    the tokens so far runs while k and v are made, and the new token is merged by the sums of exponentials), 4.3
    (rotational staggered pipelining over n - 1 replicas), 5 (attention spread over memory devices by heads).
Differs: the a devices of a replica are tensor-parallel. The cut of the model graph is fixed (the residual stream is
    what is saved; it is the minimum for these models). Prompts of a fixed batch run on the model's devices; with a
    stream of requests they come for free, as in the paper's evaluation. All batches begin a token together.
Checked by: tests/live/test_lamina.py (tokens against the plain run), tests/paper/test_lamina.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from controller.errors import BadTopology, BadWorkload
from controller.models.scenario import Scenario
from controller.offload.fixed_batch import FixedBatch, Pools
from controller.offload.generation import generate
from controller.offload.network_probe import probe_network
from controller.program.options import Choice, Count, Parsed, Switch, option, whole_of
from controller.program.run import AnyProgram, Run
from controller.serving.saturated_stream import serve_lamina
from controller.serving.stream_options import StreamOptions, has_stream

MODEL, MEMORY = "model", "memory"
"""Groups of a topology that the two pools are taken from."""


def _dop(text: str) -> tuple[int, int]:
    models, memories = (whole_of(part.strip(), 1) for part in text.split(","))
    return models, memories


@dataclass(frozen=True)
class LaminaOptions(StreamOptions):
    """What a user may choose of Lamina."""

    dop: Annotated[tuple[int, int], Parsed(_dop, "model devices and memory devices, for example 2,4")] = option(
        "2,4", "model devices and memory devices"
    )
    stagger: Count | None = option(
        None, "concurrent batches that take turns on one replica less than that", absent="2; 1 for --batch 1"
    )
    overlap: Switch = option(True, "q is sent ahead of k and v")
    stack: Choice = option("fhbn", "the network stack between the pools", choices=("fhbn", "nccl"))
    probe: Choice | None = option(
        None, "a ping-pong and a long message between the pools instead of a generation", choices=("network",)
    )


def lamina(run: Run, scenario: Scenario) -> AnyProgram:
    """Decoding with attention on memory devices: a fixed batch, or with ``--requests`` a stream of requests."""
    options = LaminaOptions.of(scenario.options)
    scenario = replace(scenario, options=options)
    pools = pools_of(scenario)
    if options.probe is not None:
        return probe_network(run, scenario, pools)
    if has_stream(scenario):
        return serve_lamina(run, scenario, pools)
    return generate(run, scenario, FixedBatch(scenario, pools, prefill_elsewhere=options.prefill == "elsewhere"))


def pools_of(scenario: Scenario) -> Pools:
    """What ``--dop``, ``--stagger``, ``--overlap`` and ``--stack`` say.

    Raises:
        BadTopology: a pool has fewer devices than the DOP asks for.
        BadWorkload: an option that cannot be meant, or replicas that do not divide the model devices.
    """
    options = LaminaOptions.of(scenario.options)
    models, memories = options.dop
    text = f"{models},{memories}"
    # A single sequence has nothing to take turns with.
    alone = scenario.batch == 1 and options.requests is None
    batches = options.stagger or (1 if alone else 2)
    replicas = max(1, batches - 1)
    if models % replicas:
        raise BadWorkload(
            f"{batches} staggered batches take turns on {replicas} replicas of the model, and {models} model devices "
            f"(option dop {text!r}) cannot be split into {replicas}; choose a multiple, or another --stagger"
        )
    names = _pool(scenario, MODEL, models, text)
    each = models // replicas
    return Pools(
        tuple(names[at : at + each] for at in range(0, models, each)),
        _pool(scenario, MEMORY, memories, text),
        batches,
        options.overlap,
        options.stack,
    )


def _pool(scenario: Scenario, group: str, wanted: int, dop: str) -> tuple[str, ...]:
    topology = scenario.topology
    found = [device for device in topology.devices.values() if device.group == group]
    if not found:
        raise BadTopology(
            f"topology {topology.name!r} has no group {group!r}; Lamina takes its pools from the groups {MODEL!r} and "
            f"{MEMORY!r}, as --topology lamina has them"
        )
    idle = [device.name for device in found if device.spec.compute_queue is None]
    if idle:
        raise BadTopology(f"{idle[0]} of topology {topology.name!r} cannot compute; choose another {group}.product")
    if wanted > len(found):
        raise BadTopology(
            f"option dop is {dop!r}, and topology {topology.name!r} has {len(found)} {group} devices; give it more "
            f"with --set {group}.count={wanted}"
        )
    return tuple(device.name for device in found[:wanted])
